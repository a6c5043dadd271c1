package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quorate/api"
	"quorate/config"
	"quorate/internal/console"
	"quorate/netns-tests/scenarios"
	"quorate/sim"
)

// target is the file for one scenario's picture.
func target(to, name, ext string, of int) string {
	if isDir(to) || of > 1 {
		return filepath.Join(to, name+ext)
	}
	return to
}

// checkTarget makes the directory that several pictures need.
func checkTarget(to string, of int) error {
	if to == "" || of == 1 || isDir(to) {
		return nil
	}
	if _, err := os.Stat(to); err == nil {
		return console.Usagef("%s is a file, and there are %d scenarios: name a directory", to, of)
	}
	return os.MkdirAll(to, 0o755)
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// simFiles finds the scenarios that the arguments name.
func (c *cli) simFiles(o *simOptions, args []string) ([]scenarioFile, error) {
	if o.conf != "" {
		return c.confCases(o, args)
	}
	if len(args) == 0 {
		return nil, console.Usagef("want at least one FILE, a name from clusterctl sim list, or all")
	}
	var files []scenarioFile
	for _, a := range args {
		if a == "all" {
			all, err := builtIn()
			if err != nil {
				return nil, err
			}
			files = append(files, all...)
			continue
		}
		f, err := findScenario(a)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// findScenario reads a file, or the built-in scenario of that name.
func findScenario(name string) (scenarioFile, error) {
	short := strings.TrimSuffix(filepath.Base(name), ".txt")
	b, err := os.ReadFile(name)
	if err == nil {
		return scenarioFile{name: short, path: name, text: string(b)}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || strings.ContainsRune(name, filepath.Separator) {
		return scenarioFile{}, err
	}
	b, err = scenarios.FS.ReadFile(short + ".txt")
	if err != nil {
		return scenarioFile{}, console.Usagef("%s: no such file, and no built-in scenario of that name: see clusterctl sim list", name)
	}
	return scenarioFile{name: short, path: short + ".txt", text: string(b)}, nil
}

func builtIn() ([]scenarioFile, error) {
	names, err := fs.Glob(scenarios.FS, "*.txt")
	if err != nil {
		return nil, err
	}
	var files []scenarioFile
	for _, n := range names {
		b, err := scenarios.FS.ReadFile(n)
		if err != nil {
			return nil, err
		}
		files = append(files, scenarioFile{name: strings.TrimSuffix(n, ".txt"), path: n, text: string(b)})
	}
	return files, nil
}

// confCases makes scenarios for the operator's own file, all or those named.
func (c *cli) confCases(o *simOptions, args []string) ([]scenarioFile, error) {
	b, err := os.ReadFile(o.conf)
	if err != nil {
		return nil, err
	}
	cases, err := sim.ForConfig(o.conf, string(b), includes(o.conf), o.nodes)
	if err != nil {
		var bad *sim.ConfError
		if errors.As(err, &bad) {
			for i := range bad.Diagnostics {
				if d := &bad.Diagnostics[i]; d.File == sim.ConfName {
					d.File = filepath.Base(o.conf)
				}
			}
			_ = config.Diagnostics(bad.Diagnostics).Format(c.Err, includes(o.conf)) // a terminal that is gone cannot be told
			return nil, console.ExitCode(api.CodeInvalid.ExitCode())
		}
		return nil, console.Usagef("%v", err)
	}
	var files []scenarioFile
	var names []string
	for _, k := range cases {
		names = append(names, k.Name)
		if len(args) == 0 || slices.Contains(args, k.Name) {
			files = append(files, scenarioFile{name: k.Name, path: k.Name + ".txt", text: k.Text, made: true})
		}
	}
	for _, a := range args {
		if !slices.Contains(names, a) {
			return nil, console.Usagef("--conf has no case %q: want some of %s", a, strings.Join(names, " "))
		}
	}
	return files, nil
}

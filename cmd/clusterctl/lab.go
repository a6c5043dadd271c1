package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"quorate/api"
)

// labProgram carries out the commands that need the simulator and its decoders, see its documentation for why.
const labProgram = "clusterlab"

// labCmd is a command that clusterlab carries out: every word behind clusterctl is handed on, help and completion included.
func (c *cli) labCmd(name, short string) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error { return runLab(append([]string{name}, args...)) },
		ValidArgsFunction: func(_ *cobra.Command, args []string, last string) ([]string, cobra.ShellCompDirective) {
			return completeLab(slices.Concat([]string{name}, args, []string{last}))
		}}
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		if err := runLab([]string{name, "--help"}); err != nil { // clusterctl help sim
			cmd.PrintErrln("clusterctl:", err)
		}
	})
	return cmd
}

// findLab looks for clusterlab beside this program, then in PATH.
func findLab() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	beside := filepath.Join(filepath.Dir(self), labProgram)
	if path, err := exec.LookPath(beside); err == nil {
		return path, nil
	}
	path, err := exec.LookPath(labProgram)
	if err != nil {
		return "", &api.Error{Code: api.CodeUsage, Message: fmt.Sprintf("%s is not there, and clusterlab is not in PATH either: it carries out this command", beside),
			Hint: "make build makes both; copy clusterlab into the directory of clusterctl"}
	}
	return path, nil
}

// runLab becomes clusterlab: signals, streams and the exit code are its own.
func runLab(args []string) error {
	path, err := findLab()
	if err != nil {
		return err
	}
	if err := unix.Exec(path, append([]string{labProgram}, args...), os.Environ()); err != nil {
		return fmt.Errorf("run %s: %w", path, err)
	}
	return nil // not reached
}

// completeLab asks clusterlab how a line may go on.
func completeLab(args []string) ([]string, cobra.ShellCompDirective) {
	path, err := findLab()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	out, err := exec.Command(path, append([]string{cobra.ShellCompRequestCmd}, args...)...).Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var directive int
	if _, serr := fmt.Sscanf(lines[len(lines)-1], ":%d", &directive); err != nil || serr != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return lines[:len(lines)-1], cobra.ShellCompDirective(directive)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"quorate/api"
	"quorate/config"
	"quorate/internal/buildinfo"
	"quorate/node/host"
)

// workerStatus is how a worker ends: the parent must be able to tell what it chose from a crash.
func workerStatus(err error) error {
	var exit *exitError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &exit):
		return &exitError{host.PermanentExit(exitFatal), err}
	}
	return &exitError{host.PermanentExit(exit.code), exit.err}
}

// runWorker is the whole life of a worker process.
func runWorker(ctx context.Context, s *settings, log *slog.Logger) error {
	ctx, reload := signals(ctx)
	log = log.With("process", s.worker)
	if s.worker == "cluster" {
		return s.runCluster(ctx, log)
	}
	name, err := s.nodeName()
	once := s.worker == startupScript || s.worker == shutdownScript || s.worker == release
	if err != nil && once {
		return nil // the others will say so
	}
	if err != nil {
		return err
	}
	var gens *host.Generations
	warn := log
	if once {
		warn = slog.New(slog.DiscardHandler) // the others will say that as well
	}
	kept := host.Kept{Path: s.keptConfig(s.worker), First: host.Inherits()}
	if once {
		kept = host.Kept{}
	}
	if s.worker == shutdownScript || s.worker == release { // as what ran until now says
		kept = host.Kept{Path: s.keptConfig("vrrp"), First: host.InheritAll}
	}
	load := host.LoadFile(s.file, name, kept, warn)
	if s.file == "" {
		gens = &host.Generations{Dir: s.generations()}
		load = host.LoadActive(gens, name)
	}
	var global config.Global
	first, gen, firstErr := load() // says where to run
	if first != nil {
		global = first.Global
	}
	again, used := load, false
	load = func() (*config.Config, int64, error) {
		if used {
			return again()
		}
		used = true
		return first, gen, firstErr
	}
	namespace := cmp.Or(s.namespace, global.NetNamespace.V)
	if err := host.EnterNamespace(namespace); err != nil {
		return &exitError{exitConfig, err}
	}
	conn, err := host.InheritedConn("cluster")
	if err != nil {
		return err
	}
	switch s.worker {
	case startupScript:
		host.RunStartupScript(ctx, load, log)
	case shutdownScript:
		host.RunShutdownScript(ctx, load, log)
	case release:
		return host.RunRelease(s.runDir, log)
	case standIn:
		err = host.RunStandIn(ctx, s.runDir, log)
	case "vrrp":
		runtime.GOMAXPROCS(min(2, runtime.GOMAXPROCS(0))) // one goroutine decides; more processors would only pass work around
		err = host.RunVRRP(ctx, host.VRRPConfig{Node: name, Load: load, Conn: conn, Generations: gens,
			RunDir: s.runDir, Logger: log, Reload: reload, Dump: dumps(ctx), Show: s.dump, Forced: s.namespace != ""})
	case "checker":
		err = host.RunChecker(ctx, host.CheckerConfig{Node: name, RunDir: s.runDir, Load: load, Conn: conn, Generations: gens, Logger: log, Reload: reload,
			Forced: s.namespace != "", OpenIPVS: host.IPVSIn(namespace, global.NetNamespaceIPVS)})
	default:
		return &exitError{exitFatal, fmt.Errorf("no such worker %q", s.worker)}
	}
	if err != nil && s.file != "" {
		return &exitError{exitConfig, err} // the parent stops too: nothing will repair the file
	}
	return err
}

func (s *settings) runCluster(ctx context.Context, log *slog.Logger) error {
	cfg := api.Config{StateDir: s.stateDir, RunDir: s.runDir, Version: buildinfo.Version, Logger: log}
	for _, w := range []struct {
		name string
		to   *api.Worker
	}{{"vrrp", &cfg.VRRP}, {"checker", &cfg.Checker}} {
		conn, err := host.InheritedConn(w.name)
		if err != nil {
			return err
		}
		if conn != nil { // a nil *Conn in the interface would not be nil
			*w.to = conn
		}
	}
	return api.Run(ctx, cfg)
}

// keptConfig is where a standalone worker notes what it runs.
func (s *settings) keptConfig(worker string) string {
	return filepath.Join(s.runDir, worker+"-config.json")
}

func (s *settings) generations() string { return filepath.Join(s.stateDir, "generations") }

// nodeName is what @ID lines compare with: -i, the name given to init or join, or the host's.
func (s *settings) nodeName() (string, error) {
	if s.node != "" {
		return s.node, nil
	}
	if s.file == "" {
		name, err := api.NodeName(s.stateDir)
		if err != nil {
			return "", &exitError{exitNoFile, err}
		}
		return name, nil
	}
	h, err := os.Hostname()
	if err != nil {
		return "", &exitError{exitFatal, err}
	}
	name, _, _ := strings.Cut(h, ".")
	return name, nil
}

// test is -t: every finding on stderr, silence when there is none. The statuses are keepalived's: a file that cannot be read
// is 6, and so are scripts that run without enable_script_security; what keepalived would report as well is 5.
func test(s *settings) error {
	if err := s.readable(); err != nil {
		return err
	}
	name, err := s.nodeName()
	if err != nil {
		return err
	}
	cfg, found, _ := config.LintTree(s.file, host.OSFiles{}, config.Options{ConfigID: name})
	have, err := host.NetworksIn(cmp.Or(s.namespace, cfg.Global.NetNamespace.V))
	switch ns := cfg.Global.NetNamespace; {
	case err != nil && ns.Set && s.namespace == "":
		found = append(found, config.Diagnostic{Severity: config.Error, Code: "no-such-namespace", Pos: ns.Pos, Keyword: "net_namespace",
			Message: err.Error(), Hint: "interfaces are judged when it is there"})
		found = append(found, host.JudgePrograms(cfg, name)...)
	case err != nil:
		return &exitError{exitFatal, fmt.Errorf("list the interfaces of this host: %w", err)}
	default:
		found = append(found, host.Judge(cfg, have, name)...)
	}
	found.Sort()
	fmt.Fprint(os.Stderr, found.Text(host.OSFiles{}))
	status := 0
	for _, d := range found {
		switch {
		case d.Code == host.CodeNoSecurity:
			status = exitSecurity
		case slices.Contains([]string{host.CodeNoProgram, host.CodeNotRunnable, host.CodeUnsafeProgram}, d.Code) && d.Keyword != "vrrp_script":
			// keepalived looks at them when it runs them
		case !d.Advice():
			status = max(status, exitFaults)
		}
	}
	if status == 0 {
		return nil
	}
	return &exitError{status, errors.New("the configuration has findings")}
}

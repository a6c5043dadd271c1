package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"quorate/cluster"
	"quorate/config"
	"quorate/node/host"
)

// Codes of the diagnostics that only a director itself can find.
const (
	diagNoList = "no-such-interface"
	diagNoRoom = "cannot-save"
)

// handleCheck reads a configuration as this director would and looks whether this host has what it needs.
func (s *Server) handleCheck(r *http.Request) (any, error) {
	var req CheckRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	return s.check(req), nil
}

func (s *Server) check(req CheckRequest) *CheckResult {
	name := s.id.Load().Name
	cfg, diags := config.Parse(req.Main, config.Files(req.Files), config.Options{ConfigID: name})
	namespace := ""
	if cfg != nil {
		namespace = cfg.Global.NetNamespace.V
	}
	ifs, err := s.cfg.Interfaces(namespace)
	if err != nil {
		diags = append(diags, config.Diagnostic{Severity: config.Warning, Code: diagNoList, Message: "cannot list this host's interfaces: " + err.Error()})
	} else if cfg != nil {
		for _, d := range host.Judge(cfg, ifs, name) {
			if d.Code == host.CodeNoSecurity {
				continue // said by clusterd -t; a push need not say it every time
			}
			d.Nodes = []string{name}
			diags = append(diags, d)
		}
	}
	if cfg != nil {
		st := s.nodeStatus()
		diags = append(diags, checkVRIDs(cfg, st.Heard, st.Instances, s.members(), name)...)
	}
	s.probing.Lock()
	err = checkWritable(s.cfg.StateDir, bundleSize(req))
	s.probing.Unlock()
	if err != nil {
		diags = append(diags, config.Diagnostic{Severity: config.Error, Code: diagNoRoom, Pos: config.Pos{File: req.Main}, Nodes: []string{name},
			Message: fmt.Sprintf("%s cannot save a configuration: %v", name, err),
			Hint:    fmt.Sprintf("make room in %s there; with clusterd stopped on %s a push goes past it", s.cfg.StateDir, name)})
	}
	diags.Sort()
	if req.Stage > 0 && !diags.HasErrors() {
		s.stage(req)
	}
	return &CheckResult{Node: name, Diagnostics: diags}
}

// stage hands the configuration to the vrrp worker. It is a courtesy to the other members; without it the push goes on.
func (s *Server) stage(req CheckRequest) {
	g := cluster.Generation{Number: req.Stage, ID: "staged", Main: req.Main, Files: req.Files}
	g.Hash = g.ComputeHash()
	if err := s.gens.Staged().Save(g); err != nil {
		s.log.Warn("cannot stage a generation", "generation", g.Number, "error", err)
		return
	}
	for _, w := range s.workers {
		if w.name != "vrrp" {
			continue
		}
		if err := w.conn.Send(host.Message{Kind: host.KindStage, Worker: w.name, Generation: g.Number}); err != nil {
			s.log.Warn("cannot tell a worker about a staged generation", "worker", w.name, "generation", g.Number, "error", err)
		}
	}
}

// bundleSize is about what a generation takes on the disk: JSON escapes, and its head.
func bundleSize(req CheckRequest) int {
	n := 64 << 10
	for _, text := range req.Files {
		n += len(text) + len(text)/4
	}
	return n
}

// askBudget is how long a push waits for one director's opinion.
const askBudget = 5 * time.Second

// opinion is what one member said about a configuration.
type opinion struct {
	name   string
	result *CheckResult
	err    error
}

// askAll has every member check the configuration at once.
func (s *Server) askAll(ctx context.Context, req CheckRequest) []opinion {
	members := s.members()
	out := make([]opinion, len(members))
	ctx, cancel := context.WithTimeout(ctx, askBudget)
	defer cancel()
	self := s.id.Load().ID
	var wg sync.WaitGroup
	for i, m := range members {
		out[i].name = m.Name
		if m.ID == self {
			out[i].result = s.check(req)
			continue
		}
		wg.Go(func() { out[i].result, out[i].err = s.peer(m).Check(ctx, req) })
	}
	wg.Wait()
	return out
}

// mergeDiagnostics joins what several directors found: one finding with the names of all who have it. Findings that are
// already in known are left out.
func mergeDiagnostics(known config.Diagnostics, ops []opinion) config.Diagnostics {
	same := func(a, b config.Diagnostic) bool {
		return a.Code == b.Code && a.Pos == b.Pos && a.Message == b.Message
	}
	var out config.Diagnostics
	for _, o := range ops {
		if o.result == nil {
			continue
		}
		for _, d := range o.result.Diagnostics {
			if slices.ContainsFunc(known, func(k config.Diagnostic) bool { return same(k, d) }) {
				continue
			}
			if i := slices.IndexFunc(out, func(k config.Diagnostic) bool { return same(k, d) }); i >= 0 {
				for _, n := range d.Nodes {
					if !slices.Contains(out[i].Nodes, n) {
						out[i].Nodes = append(out[i].Nodes, n)
					}
				}
				continue
			}
			out = append(out, d)
		}
	}
	out.Sort()
	return out
}

package real

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"quorate/config"
	"quorate/sim"
	"quorate/sim/wire"
)

// Directors of a scenario that pushes are a cluster, made as an operator makes one: clusterctl init, and join on the others. The files
// of a member are in a directory of its own, which stays when its power fails.

// What an operator does with a push that had no answer, as in package sim.
const (
	pushTries = 4
	pushPause = time.Second
	pushWait  = 8 * time.Second // of one clusterctl
)

// noQuorum is clusterctl's exit status, and the others after which nothing can be gained by asking again.
const (
	exitUsage    = 2
	exitInvalid  = 4
	exitNoQuorum = 6
	exitConflict = 7
)

// acked is a push that somebody was told is safe.
type acked struct {
	id         string
	generation int64
}

// generation is what a push means to the hosts.
type generation map[string]*config.Config

// clustered reports whether a scenario needs a cluster.
func clustered(sc *sim.Scenario) bool {
	return slices.ContainsFunc(sc.Directives, func(d sim.Directive) bool {
		verb, _, _ := sim.Words(d.Text)
		return verb == "push" || verb == "put" || verb == "disk"
	})
}

func (h *host) stateDir() string { return filepath.Join(h.s.p.Dir, h.name+".state") }

func (h *host) socket() string { return filepath.Join(h.runDir(), "ctl.sock") }

// ctl runs clusterctl on a director and returns what it printed.
func (h *host) ctl(ctx context.Context, args ...string) ([]byte, error) {
	var out bytes.Buffer
	_, err := h.ctlTo(ctx, &out, args...)
	return out.Bytes(), err
}

// ctlTo runs clusterctl on a director and returns its exit status as well.
func (h *host) ctlTo(ctx context.Context, out io.Writer, args ...string) (code int, err error) {
	code, err = run(ctx, h, out, append([]string{filepath.Join(h.s.p.BinDir, "clusterctl"), "--socket", h.socket()}, args...)...)
	if err != nil {
		err = fmt.Errorf("clusterctl %s on %s: %w", args[0], h.name, err)
	}
	return code, err
}

// form makes the cluster and waits until all are voters. What that takes is not the scenario's time.
func (s *stage) form() error {
	for _, h := range s.hosts {
		if h.director && h.program == "" {
			h.member = true
			s.members = append(s.members, h)
		}
	}
	if len(s.members) == 0 {
		return errors.New("no director here has a store: keepalived and FRR have none")
	}
	s.generations = map[string]generation{}
	token := ""
	for i, h := range s.members {
		if err := errors.Join(h.MkdirAll(h.stateDir(), 0o700), h.MkdirAll(h.runDir(), 0o755)); err != nil {
			return err
		}
		if s.small {
			if _, err := run(s.ctx, h, nil, "mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", h.stateDir()); err != nil {
				return fmt.Errorf("a disk of its own for %s: %w", h.name, err)
			}
		}
		args := []string{"--name", h.name, "--address", h.cards[0].base.Addr().String(), "--state-dir", h.stateDir(), "-o", "json"}
		if i > 0 {
			args = append([]string{"join", token}, args...)
		} else {
			args = append([]string{"init"}, args...)
		}
		out, err := h.ctl(s.ctx, args...)
		if err != nil {
			return err
		}
		if i == 0 {
			var made struct{ Token string }
			if err := json.Unmarshal(out, &made); err != nil || made.Token == "" {
				return fmt.Errorf("clusterctl init -o json: no token in %q", out)
			}
			token = made.Token
		}
		if err := h.startDaemon(); err != nil {
			return err
		}
		h.logged = -1 // without a generation it elects nobody
		if err := s.until("clusterd on "+h.name+" listens", func() bool { return h.Listens(h.socket()) }); err != nil {
			return err
		}
	}
	first := s.members[0]
	return s.until("all directors are members of the cluster", func() bool {
		st, err := first.status(s.ctx)
		voters := 0
		for _, n := range st.Nodes {
			if n.State != "unreachable" && n.Role != "learner" {
				voters++
			}
		}
		return err == nil && voters == len(s.members)
	})
}

// until waits for something that always comes.
func (s *stage) until(what string, ok func() bool) error {
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			return fmt.Errorf("%s: not within 30 s", what)
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// memberStatus is what "clusterctl status -o json" says, as far as it matters here.
type memberStatus struct {
	Quorum bool
	Nodes  []struct {
		Name, State, Role string
		Generation        int64
	}
}

func (h *host) status(ctx context.Context) (st memberStatus, err error) {
	out, err := h.ctl(ctx, "status", "-o", "json") // a bad verdict is an exit status too
	if len(out) == 0 {
		return st, err
	}
	return st, json.Unmarshal(out, &st)
}

// push is "clusterctl push" by an operator who tries again, with the same id, where there was no answer. It goes on while the scenario does.
func (s *stage) push(args []sim.Word, input string) error {
	p := &push{s: s, began: s.mark}
	for _, a := range args {
		var err error
		if a.Key == "at" { // spread= is how the simulator lets members differ; real ones do by themselves
			p.at, err = s.host(a.Value)
		}
		if err != nil {
			return err
		}
	}
	if p.at != nil && !p.at.member {
		return fmt.Errorf("%s is no member of the cluster", p.at.name)
	}
	s.pushes++
	p.id = fmt.Sprintf("push-%d", s.pushes)
	g := generation{}
	for _, h := range s.members {
		c, err := parseConf(h.name, input)
		if err != nil {
			return err
		}
		if err := s.readyServers(c); err != nil {
			return err
		}
		g[h.name] = c
	}
	s.set(func() {
		s.generations[p.id] = g
		for _, c := range g {
			s.addVIPs(c)
		}
		s.watch.look(s)
	})
	p.file = filepath.Join(s.p.Dir, p.id+".conf")
	for _, h := range s.members {
		if err := h.Write(p.file, []byte(input+"\n"), 0o644); err != nil {
			return err
		}
	}
	s.set(func() { s.onTheirWay++ })
	s.pushing.Go(func() {
		said := p.operate()
		s.set(func() { s.onTheirWay--; s.told(p.id + ": " + said) })
	})
	return nil
}

// told adds what somebody said to the events; the lock is held.
func (s *stage) told(text string) {
	s.news = append(s.news, sim.Moment{At: s.fabric.now(), Host: "-", Kind: "store", Text: text})
}

// push is one on its way.
type push struct {
	s          *stage
	at         *host // whom it asks first
	id, file   string
	began      time.Duration // the stage's mark
	unfinished []byte        // of a line that clusterctl prints
}

// Write takes what clusterctl prints: an object per step.
func (p *push) Write(b []byte) (int, error) {
	p.unfinished = append(p.unfinished, b...)
	for {
		line, rest, whole := bytes.Cut(p.unfinished, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		p.unfinished = rest
		var step struct {
			Step, Result string
			Generation   int64
		}
		if json.Unmarshal(line, &step) != nil || step.Generation == 0 || step.Step != "commit" && step.Result == "" {
			continue
		}
		p.s.set(func() {
			if !slices.ContainsFunc(p.s.acked, func(a acked) bool { return a.id == p.id }) {
				p.s.acked = append(p.s.acked, acked{p.id, step.Generation})
			}
			if p.s.committed.of != p.id {
				p.s.committed = commit{p.id, p.began, p.s.fabric.now()}
			}
		})
	}
}

// operate tries directors until one has an answer, and returns what became of the push.
func (p *push) operate() (said string) {
	s := p.s
	said = "no director answers"
	for try := range pushTries {
		if try > 0 {
			select {
			case <-s.ctx.Done():
				return "ended with the scenario"
			case <-time.After(pushPause):
			}
		}
		list, most := s.reaching()
		if p.at != nil && try == 0 {
			list, most = []*host{p.at}, 1
		}
		for i, h := range list {
			if !s.serves(h) || s.ctx.Err() != nil {
				continue
			}
			p.unfinished = nil
			code, err := h.ctlTo(s.ctx, p, "push", p.file, "-m", p.id, "--id", p.id, "--timeout", pushWait.String(), "-o", "jsonl")
			switch {
			case err == nil:
				return "done"
			case code == exitUsage, code == exitInvalid, code == exitConflict:
				return "refused: " + err.Error()
			case code == exitNoQuorum && i >= most && !strings.Contains(err.Error(), "not confirmed"):
				return "refused: " + err.Error()
			}
			said = err.Error()
		}
	}
	return "not confirmed: " + said
}

// commit is the moment at which a push was committed, and the mark that it began with.
type commit struct {
	of        string
	began, at time.Duration
}

// settled has within= count from the commit of the push that was the last fault: what a process needs to start and to read the file is
// not the scenario's time.
func (s *stage) settled() {
	s.set(func() {
		if s.committed.of != "" && s.committed.began == s.mark {
			s.mark = s.committed.at
		}
	})
}

// reaching are the members, first those that reach a majority, and how many do.
func (s *stage) reaching() (list []*host, most int) {
	s.fabric.mu.Lock()
	defer s.fabric.mu.Unlock()
	s.watch.Lock()
	defer s.watch.Unlock()
	var alone []*host
	for _, h := range s.members {
		n := 0
		for _, o := range s.members {
			if o == h || o.daemon != nil && !o.paused && s.hear(h, o, 0, wire.ClassRaft) {
				n++
			}
		}
		if 2*n > len(s.members) {
			list = append(list, h)
		} else {
			alone = append(alone, h)
		}
	}
	return append(list, alone...), len(list)
}

// serves reports whether a director's daemon runs.
func (s *stage) serves(h *host) bool {
	s.watch.Lock()
	defer s.watch.Unlock()
	return h.on && h.daemon != nil && !h.paused
}

// appliedGeneration is what the vrrp worker says when it runs a generation.
var appliedGeneration = regexp.MustCompile(`^generation (\d+):`)

// runs is the generation that a director's present daemon runs.
func (h *host) runs() (n int64, err error) {
	list, err := h.events()
	for _, e := range list {
		if m := appliedGeneration.FindStringSubmatch(e.Detail); e.Event == "config.applied" && m != nil {
			if _, err := fmt.Sscan(m[1], &n); err != nil {
				return 0, err
			}
		}
	}
	return n, err
}

// settle takes over which configuration each member runs by now.
func (s *stage) settle() error {
	s.settled()
	for _, h := range s.members {
		n, err := h.runs()
		if err != nil {
			return err
		}
		s.set(func() {
			for _, a := range s.acked {
				if g := s.generations[a.id]; a.generation == n && g != nil {
					h.conf = g[h.name]
				}
			}
		})
	}
	return nil
}

// expectGeneration: expect generation=2 [node=d3], as in package sim.
func (s *stage) expectGeneration(opt map[string]sim.Word) error {
	some := false
	for _, h := range s.members {
		if node, ok := opt["node"]; h.daemon == nil || h.paused || ok && node.Value != h.name {
			continue
		}
		n, err := h.runs()
		if err != nil {
			return err
		}
		if fmt.Sprint(n) != opt["generation"].Value {
			return failed("%s runs generation %d, not %s", h.name, n, opt["generation"].Value)
		}
		some = true
	}
	if !some {
		return failed("nobody runs")
	}
	return nil
}

// put is a write that is no push. From outside only tokens can be written; one that was made must never be lost, as any key.
func (s *stage) put(args []sim.Word, _ string) error {
	list, _ := s.reaching()
	for _, a := range args[2:] {
		h, err := s.host(a.Value)
		if err != nil {
			return err
		}
		list = []*host{h}
	}
	s.pushing.Go(func() {
		said := "no director answers"
		for _, h := range list {
			if !s.serves(h) {
				continue
			}
			if _, err := h.ctl(s.ctx, "token", "create", "-o", "json", "--timeout", "3s"); err != nil {
				said = err.Error()
				continue
			}
			said = "done"
			break
		}
		s.set(func() {
			if said == "done" {
				s.tokens++
			}
			s.told("put " + args[0].Key + ": " + said)
		})
	})
	return nil
}

// storeWrong is S3 and L1 of the store, from outside: a majority that reaches each other knows everything that was acknowledged, and all of
// it run the newest generation of that.
func (s *stage) storeWrong() (wrong []string) {
	if len(s.members) == 0 {
		return nil
	}
	s.fabric.mu.Lock()
	s.watch.Lock()
	up := slices.DeleteFunc(slices.Clone(s.members), func(h *host) bool { return !h.on || h.daemon == nil || h.paused })
	for _, a := range up {
		group := slices.DeleteFunc(slices.Clone(up), func(b *host) bool { return a != b && !s.hear(a, b, 0, wire.ClassRaft) })
		if 2*len(group) > len(s.members) {
			up = group
			break
		}
	}
	promised, tokens := slices.Clone(s.acked), s.tokens
	s.watch.Unlock()
	s.fabric.mu.Unlock()
	if 2*len(up) <= len(s.members) || len(promised) == 0 {
		return nil
	}
	history, err := up[0].ctl(s.ctx, "history", "-o", "json")
	if err != nil {
		return []string{"the store of " + up[0].name + " does not answer though a majority is in reach: " + err.Error()}
	}
	list, err := up[0].ctl(s.ctx, "token", "list", "-o", "json")
	var made []json.RawMessage
	if err = cmp.Or(err, json.Unmarshal(list, &made)); err != nil {
		return []string{err.Error()}
	}
	if len(made) < tokens {
		wrong = append(wrong, fmt.Sprintf("%d tokens were acknowledged, %s holds %d", tokens, up[0].name, len(made)))
	}
	var newest int64
	for _, a := range promised {
		if newest = max(newest, a.generation); !strings.Contains(string(history), `"`+a.id+`"`) {
			wrong = append(wrong, fmt.Sprintf("%s, which was acknowledged, is not in what %s holds", a.id, up[0].name))
		}
	}
	for _, h := range up {
		if n, err := h.runs(); err != nil || n < newest {
			wrong = append(wrong, fmt.Sprintf("%s runs generation %d, %d was acknowledged (%v)", h.name, n, newest, err))
		}
	}
	return wrong
}

// refusePush says why a cluster of real directors cannot play a directive.
func refusePush(cluster bool, verb string, args []sim.Word, input string) string {
	switch {
	case !cluster:
	case verb == "push" && (strings.Contains(input, "vrrp_script") || strings.Contains(input, "track_file") || strings.Contains(input, "vrrp_track_file")):
		return "push with scripts or track_file: a member would need the scenario's own files"
	case verb == "disk" && len(args) > 1 && args[1].Key == "slow":
		return "disk slow=: a disk that takes its time is played in virtual time"
	case verb == "disk" && len(args) > 1 && args[1].Value == "lost":
		return "disk crash=lost: a process that is killed loses nothing that it has written"
	case verb == "cut":
		proto, both := false, false
		for _, a := range args {
			proto = proto || a.Key == "proto" && strings.Contains(a.Value, "raft")
			both = both || a.Key+a.Op+a.Value == "*>*"
		}
		if proto && !both {
			return "cut A>B proto=raft: the store's messages go over TCP, which no longer carries anything if one direction is cut"
		}
	}
	return ""
}

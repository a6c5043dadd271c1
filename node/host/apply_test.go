package host

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"quorate/cluster"
	"quorate/config"
)

const instanceConf = `vrrp_instance VI_1 {
    interface %s
    virtual_router_id 51
    priority 100
    version 3
    advert_int 0.05
    virtual_ipaddress {
        10.9.0.%d
    }
}
`

func confGeneration(n int64, text string) cluster.Generation {
	g := cluster.Generation{Number: n, Time: time.Now(), Main: "keepalived.conf", Files: map[string]string{"keepalived.conf": text}}
	g.Hash = g.ComputeHash()
	return g
}

// peer is the cluster worker's end of a connection.
type peer struct {
	t   *testing.T
	c   *Conn
	asm Assembler
	log *logBuffer
}

// wait reads until a message is wanted; statuses are assembled on the way.
func (p *peer) wait(what string, want func(Message, *Status) bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 15*time.Second)
	defer cancel()
	for {
		m, err := p.c.Recv(ctx)
		if err != nil {
			p.t.Fatalf("waiting for %s: %v\n%s", what, err, p.log)
		}
		var whole *Status
		if m.Kind == KindStatus {
			if s, ok := p.asm.Add(m); ok {
				whole = &s
			}
		}
		if want(m, whole) {
			return
		}
	}
}

func (p *peer) applied(generation int64, text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("applied %d %q", generation, text), func(m Message, _ *Status) bool {
		if m.Kind != KindApplied {
			return false
		}
		if m.Generation != generation || !strings.Contains(m.Error, text) || (m.Error == "") != (text == "") {
			p.t.Fatalf("answer %+v, want generation %d and %q", m, generation, text)
		}
		return true
	})
}

func hasAddress(t *testing.T, link netlink.Link, ip string) bool {
	t.Helper()
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	for errors.Is(err, netlink.ErrDumpInterrupted) { // something changed meanwhile
		addrs, err = netlink.AddrList(link, netlink.FAMILY_ALL)
	}
	must(t, err)
	for _, a := range addrs {
		if a.IP.String() == ip {
			return true
		}
	}
	return false
}

// A director in a cluster: it starts with nothing, runs what it is told, refuses what cannot run and keeps the
// old, and tells all of it to a cluster worker that may come and go.
func TestApply(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, _ := cable(t)
	mine, theirs := pair(t)
	gens := &Generations{Dir: filepath.Join(t.TempDir(), "generations")}
	log := &logBuffer{}
	p := &peer{t: t, c: theirs, log: log}
	must(t, theirs.Send(Message{Kind: KindApply, Generation: 99})) // meant for a predecessor
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() {
		result <- RunVRRP(ctx, VRRPConfig{Node: "lb1", Conn: mine, Generations: gens, Logger: log.logger(),
			Load: func() (*config.Config, int64, error) {
				g, err := gens.Active()
				if err != nil && g.Number == 0 {
					return nil, 0, err
				}
				c, perr := parseAs("lb1")(g)
				return c, g.Number, errors.Join(err, perr)
			}})
	}()
	p.wait("hello", func(m Message, _ *Status) bool { return m.Kind == KindHello && m.Worker == "vrrp" && m.PID > 0 })

	apply := func(n int64, text string) {
		t.Helper()
		must(t, gens.Save(confGeneration(n, text)))
		must(t, gens.SetActive(n))
		must(t, theirs.Send(Message{Kind: KindApply, Generation: n}))
	}
	must(t, theirs.Send(Message{Kind: KindApply, Generation: 1}))
	p.applied(1, "generation 1: open")
	apply(2, fmt.Sprintf(instanceConf, "v0", 100))
	p.applied(2, "")
	p.wait("MASTER", func(m Message, s *Status) bool {
		return s != nil && s.Generation == 2 && len(s.Instances) == 1 && s.Instances[0].State == "MASTER" &&
			time.Since(s.Instances[0].Since) < time.Minute && s.Instances[0].Master.String() == "10.9.0.1"
	})
	if !hasAddress(t, v0, "10.9.0.100") {
		t.Error("MASTER without the address")
	}
	apply(3, "vrrp_instance VI_1 {\n    virtual_router_idd 51\n}\n")
	p.applied(3, "keepalived.conf:2")
	apply(4, fmt.Sprintf(instanceConf, "eth9", 101))
	p.applied(4, `this host has no interface "eth9"`)
	if !hasAddress(t, v0, "10.9.0.100") {
		t.Error("a refused generation cost the address")
	}
	apply(5, fmt.Sprintf(instanceConf, "v0", 105))
	p.applied(5, "")
	eventually(t, 5*time.Second, func() bool { return hasAddress(t, v0, "10.9.0.105") && !hasAddress(t, v0, "10.9.0.100") }, log.String)

	// A late message about a generation that is active no more runs the active one.
	must(t, theirs.Send(Message{Kind: KindApply, Generation: 2}))
	p.applied(5, "")

	// The cluster worker is started anew and hears at once what runs here.
	must(t, theirs.Send(Message{Kind: KindHello, Worker: "cluster"}))
	p.applied(5, "")
	p.wait("status", func(m Message, s *Status) bool { return s != nil && s.Generation == 5 })

	// Interface gone: the reason arrives, the worker lives.
	must(t, netlink.LinkDel(v0))
	p.wait("FAULT", func(m Message, _ *Status) bool {
		return m.Kind == KindEntry && m.Entry.Event == "vrrp.fault" && strings.Contains(m.Entry.Detail, "does not exist") && m.Entry.Node == "lb1"
	})
	v0, _ = cable(t)
	p.wait("MASTER again", func(m Message, _ *Status) bool { return m.Kind == KindEntry && m.Entry.Event == "vrrp.master" })
	eventually(t, 5*time.Second, func() bool { return hasAddress(t, v0, "10.9.0.105") }, log.String)

	// The cluster worker is dead and its queue full: that must cost nothing.
	for !errors.Is(mine.Send(Message{Kind: KindEntry, Error: strings.Repeat("x", 60000)}), ErrFull) {
		continue
	}
	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if hasAddress(t, v0, "10.9.0.105") {
		t.Errorf("stopped with the address\n%s", log)
	}
}

func TestRunVRRPStandalone(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, v1 := cable(t)
	wire := openTap(t, v1)
	bad := errors.New("keepalived.conf:3: unknown keyword")
	err := RunVRRP(t.Context(), VRRPConfig{Load: func() (*config.Config, int64, error) { return nil, 0, bad }})
	if !errors.Is(err, bad) {
		t.Fatalf("no configuration and nobody to give one: %v", err)
	}
	texts := make(chan string, 3)
	load := func() (*config.Config, int64, error) {
		text := <-texts
		if text == "" {
			return nil, 0, bad
		}
		c, err := parseAs("lb1")(confGeneration(1, text))
		return c, 0, err
	}
	reload := make(chan struct{})
	log := &logBuffer{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	texts <- fmt.Sprintf(instanceConf, "v0", 100)
	go func() {
		result <- RunVRRP(ctx, VRRPConfig{Node: "lb1", Load: load, Logger: log.logger(), Reload: reload})
	}()
	eventually(t, 10*time.Second, func() bool { return hasAddress(t, v0, "10.9.0.100") }, log.String)
	// A reload that hangs on a disk delays no advert.
	reload <- struct{}{}
	for range 10 {
		wire.next(0x0800, func(f []byte) bool { return len(f) > 34 && f[23] == 112 })
	}
	texts <- ""
	eventually(t, 10*time.Second, func() bool { return strings.Contains(log.String(), "config.failed: keepalived.conf:3") }, log.String)
	reload <- struct{}{}
	texts <- fmt.Sprintf(instanceConf, "v0", 101)
	eventually(t, 10*time.Second, func() bool { return hasAddress(t, v0, "10.9.0.101") && !hasAddress(t, v0, "10.9.0.100") }, log.String)
	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
	wire.next(0x0800, func(f []byte) bool { return len(f) > 36 && f[23] == 112 && f[36] == 0 }) // priority 0 said
}

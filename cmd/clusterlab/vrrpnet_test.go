package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quorate/internal/console"
	"quorate/internal/testenv"
	"quorate/sim/netns"
	"quorate/sim/replay"
)

// watch is a vrrp decode that runs in a host of a lab.
type watch struct {
	out, errs lockedBuffer
	seen      int // how much of out was waited for
	end       context.CancelFunc
	done      chan int
}

func watchOn(t *testing.T, h *netns.Host, args ...string) *watch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	w := &watch{end: cancel, done: make(chan int, 1)}
	go func() {
		code := -1
		if err := h.Do(func() error {
			code = execute(ctx, append([]string{"vrrp", "decode", "-o", "json"}, args...), console.Streams{In: strings.NewReader(""), Out: &w.out, Err: &w.errs})
			return nil
		}); err != nil {
			t.Error(err)
		}
		w.done <- code
	}()
	t.Cleanup(cancel)
	w.until(t, &w.errs, "listening on", 1)
	return w
}

// until waits for n lines with a pattern that were not there when the last wait ended.
func (w *watch) until(t *testing.T, b *lockedBuffer, pattern string, n int) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		text := b.String()
		if b == &w.out {
			text = text[w.seen:]
		}
		if len(re.FindAllStringIndex(text, n)) == n {
			w.seen = len(w.out.String())
			return
		}
		if time.Now().After(end) {
			lines := strings.Split(text, "\n")
			t.Fatalf("no %s %d times in\n%s%d lines, the last ones\n%s", pattern, n, w.errs.String(), len(lines), strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	}
}

// summary is the last line.
func (w *watch) summary(t *testing.T) (s replay.Summary) {
	t.Helper()
	lines := bytes.Split(bytes.TrimSpace([]byte(w.out.String())), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &struct {
		Owners    *[]replay.Owner
		Elections *[]replay.Election
		Conflicts *[]replay.Conflict
		TwoOwners *[]replay.TwoOwners `json:"two_owners"`
	}{&s.Owners, &s.Elections, &s.Conflicts, &s.TwoOwners}); err != nil {
		t.Fatalf("%v: %s", err, lines[len(lines)-1])
	}
	return s
}

// TestDecodeTunnel listens on an interface without link-layer header, which is down at first, goes down again, comes back, and in the
// end is taken away: that is an error, behind the summary.
func TestDecodeTunnel(t *testing.T) {
	testenv.NeedRoot(t)
	lab, err := netns.New(netns.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	h, err := lab.AddHost("monitor", "10.9.0.4/24")
	if err != nil {
		t.Fatal(err)
	}
	var tun *os.File
	if err := h.Do(func() (err error) {
		tun, err = os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
		if err != nil {
			return err
		}
		req, err := unix.NewIfreq("tun7")
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(int(tun.Fd()), unix.TUNSETIFF, req)
	}); err != nil {
		testenv.Missing(t, "needs tun devices: "+err.Error())
	}
	set := func(state string) {
		if out, err := h.Command(t.Context(), "ip", "link", "set", "tun7", state).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	file, err := os.ReadFile(captures + "01-v2-noauth.pcap")
	if err != nil {
		t.Fatal(err)
	}
	advert := file[24+16+14:][:40]
	say := func(n int) {
		for range n {
			if _, err := tun.Write(advert); err != nil {
				t.Fatal(err)
			}
		}
	}
	w := watchOn(t, h, "-i", "tun7")
	if !strings.Contains(w.errs.String(), "tun7 is down") {
		t.Error(w.errs.String())
	}
	const line = `"proto":"vrrp","vrid":51,"version":2,"src":"10.99.0.11","verdict":"ok"`
	set("up")
	say(2)
	w.until(t, &w.out, line, 2)
	set("down")
	w.until(t, &w.errs, "tun7 went down; listening on", 1)
	set("up")
	say(3)
	w.until(t, &w.out, line, 3)
	if err := tun.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-w.done; code != 1 || !strings.Contains(w.errs.String(), "interface tun7 is gone") {
		t.Errorf("exit %d %s", code, w.errs.String())
	}
	if s := w.summary(t); len(s.Owners) != 1 || s.Owners[0].Adverts != 5 || s.Owners[0].MAC != "" {
		t.Errorf("%+v", s.Owners)
	}
}

// TestDecodeKeepalived watches real keepalived from a third host, through a start, a kill, a return, a clean stop and a stranger: the
// summary on Ctrl-C tells each with its cause, and the file that -w wrote tells the same.
func TestDecodeKeepalived(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.Need(t, "keepalived")
	lab, err := netns.New(netns.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	var log lockedBuffer // of the daemons
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	dir := t.TempDir()
	hosts := map[string]*netns.Host{}
	for n, name := range []string{"d1", "d2", "stranger", "monitor"} {
		if hosts[name], err = lab.AddHost(name, fmt.Sprintf("10.9.0.%d/24", n+1)); err != nil {
			t.Fatal(err)
		}
	}
	starts := 0
	start := func(name string, prio int, interval, vip string) *netns.Cmd {
		conf := filepath.Join(dir, name+".conf")
		text := fmt.Sprintf("global_defs {\n vrrp_version 3\n}\nvrrp_instance V {\n interface eth0\n state BACKUP\n virtual_router_id 7\n priority %d\n advert_int %s\n virtual_ipaddress {\n %s\n }\n}\n", prio, interval, vip)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		starts++ // a killed one leaves its file, and a process of that number while nobody has waited for it
		program, _ := testenv.Find("keepalived")
		cmd := hosts[name].Command(t.Context(), program, "-n", "-l", "-P", "-f", conf, "-p", filepath.Join(dir, fmt.Sprint(starts, ".pid")), "-r", filepath.Join(dir, fmt.Sprint(starts, ".vrrp")))
		cmd.WaitDelay = time.Second
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	kill := func(name string) {
		if err := hosts[name].Kill(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	saved := filepath.Join(dir, "saved.pcapng")
	w := watchOn(t, hosts["monitor"], "-i", "eth0", "-w", saved)

	everywhere := watchOn(t, hosts["monitor"], "-i", "any", "-c", "3")
	d1 := start("d1", 150, "0.2", "10.9.0.100")
	w.until(t, &w.out, `"src":"10.9.0.1","verdict":"ok","reason":"priority 150`, 2)
	if code := <-everywhere.done; code != 0 || strings.Count(everywhere.out.String(), `"kind":"packet"`) != 3 || everywhere.summary(t).Owners[0].Interface != "eth0" {
		t.Errorf("-i any -c 3: exit %d\n%s%s", code, everywhere.errs.String(), everywhere.out.String())
	}
	_ = start("d2", 100, "0.2", "10.9.0.100")
	w.until(t, &w.out, `"src":"10.9.0.1","verdict":"ok","reason":"priority 150`, 6)
	kill("d1")
	_ = d1.Wait()
	w.until(t, &w.out, `"src":"10.9.0.2","verdict":"ok","reason":"priority 100`, 2)
	d1 = start("d1", 150, "0.2", "10.9.0.100")
	w.until(t, &w.out, `"src":"10.9.0.1","verdict":"ok","reason":"priority 150`, 4)
	// Quicker than d1: a keepalived of the same interval that hears a foreign router may never get to send again, since what it rejects
	// restarts its advert timer.
	_ = start("stranger", 120, "0.05", "10.9.0.200")
	w.until(t, &w.out, `"src":"10.9.0.3","verdict":"reject","reason":"addr_list`, 2)
	kill("stranger")
	w.until(t, &w.out, `"src":"10.9.0.1","verdict":"ok","reason":"priority 150`, 6)
	if err := d1.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	w.until(t, &w.out, `"src":"10.9.0.1","verdict":"ok","reason":"priority 0`, 1)
	w.until(t, &w.out, `"src":"10.9.0.2","verdict":"ok","reason":"priority 100`, 4)
	w.end() // Ctrl-C
	if code := <-w.done; code != 0 {
		t.Errorf("exit %d: %s", code, w.errs.String())
	}
	s := w.summary(t)
	var story []string
	for _, e := range s.Elections {
		story = append(story, strings.TrimPrefix(e.Owner, "10.9.0.")+" "+e.Cause)
	}
	// A loaded machine may make one of them late, which is another election; what was done must be in it in this order.
	at := 0
	for _, want := range []string{"1 first-heard", "2 master-down", "1 preempt", "2 priority-zero"} {
		n := slices.Index(story[at:], want)
		if n < 0 {
			t.Fatalf("no %q at its place in %q", want, story)
		}
		at += n + 1
	}
	n := slices.IndexFunc(s.Conflicts, func(c replay.Conflict) bool { return c.Foreign.Src == "10.9.0.3" })
	if n < 0 || !slices.Contains(s.Conflicts[n].Reasons, "addr_list") || s.Conflicts[n].Foreign.MAC != hosts["stranger"].MAC().String() ||
		s.Conflicts[n].Owner.Src != "10.9.0.1" || s.Conflicts[n].Remedy == "" {
		t.Errorf("%+v", s.Conflicts)
	}
	if n := slices.IndexFunc(s.TwoOwners, func(o replay.TwoOwners) bool { return slices.Contains(o.Owners, "10.9.0.3") }); n < 0 {
		t.Errorf("%+v", s.TwoOwners)
	}

	code, out, errs := run(t, nil, "vrrp", "decode", "-r", saved, "-o", "json")
	if code != 0 || !sameStory(out, w.out.String()) {
		t.Errorf("exit %d: %s; the file says\n%s\nlive was\n%s", code, errs, out, w.out.String())
	}
}

// sameStory compares two outputs apart from the name of the interface, which a file has and a live capture of one does not need.
func sameStory(a, b string) bool {
	return strings.ReplaceAll(a, `"interface":"eth0",`, "") == b
}

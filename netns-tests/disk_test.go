package netnstests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lastWAL returns the newest file of a member's write-ahead log.
func (w *world) lastWAL(host string) string {
	w.Helper()
	files, err := filepath.Glob(filepath.Join(w.stateDir(host), "raft", "*", "wal", "*.wal"))
	if err != nil || len(files) == 0 {
		w.Fatalf("no write-ahead log of %s: %v", host, err)
	}
	return files[len(files)-1]
}

// damage rewrites the last file of a member's write-ahead log: edit gets the bytes of its records, without the zeros
// that the file is allocated ahead with, and returns what shall be there instead.
func (w *world) damage(host string, edit func(records []byte) []byte) {
	w.Helper()
	path := w.lastWAL(host)
	b := readFile(w, path)
	end := len(b)
	for end > 0 && b[end-1] == 0 {
		end--
	}
	end = (end + 7) / 8 * 8 // records are padded
	damaged := edit(b[:end:end])
	damaged = append(damaged, make([]byte, max(0, len(b)-len(damaged)))...)
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		w.Fatal(err)
	}
}

// rejoin does what a damaged member's message says: another one takes it out, its directory goes, and it joins again.
func (w *world) rejoin(via, host string) {
	w.Helper()
	w.ctl(via, "member", "remove", host)
	w.kill(host)
	if err := os.RemoveAll(w.stateDir(host)); err != nil {
		w.Fatal(err)
	}
	token := strings.TrimSpace(w.ctl(via, "token", "create"))
	w.ctl(host, "join", token, "--name", host, "--address", w.address(host), "--state-dir", w.stateDir(host))
	w.clusterd(host)
}

// second is the example with a change that changes nothing but its hash.
func (w *world) second(conf string) string {
	w.Helper()
	return w.write("second.conf", string(readFile(w, conf))+"# second\n")
}

// A write that the crash cut short, half a record at the end of the log, keeps no director from starting: nobody was told
// that it was stored.
func TestTornWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2", "d3")
	directors := []string{"d1", "d2", "d3"}
	w.form(directors...)
	conf := w.example("lvs-dr.conf")
	w.ctl("d1", "push", conf, "-m", "first")
	w.runs(1, directors...)
	w.kill("d3")
	w.damage("d3", func(b []byte) []byte { // its length says 64 bytes, the disk has 9 of them
		return append(b, 64, 0, 0, 0, 0, 0, 0, 0, 8, 2, 16, 0, 0, 0, 0, 0, 0)
	})
	w.clusterd("d3")
	w.ctl("d1", "push", w.second(conf), "-m", "second")
	w.runs(2, directors...)
	if got := w.history("d3"); len(got) != 2 {
		t.Errorf("history of d3: %+v, want 2 generations", got)
	}
}

// A disk that lost a record it had promised to keep is another matter: consensus cannot use that copy any more. The
// director says so and goes on with VRRP, the others go on with everything, and what the message says to do helps.
func TestTruncatedLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2", "d3")
	directors := []string{"d1", "d2", "d3"}
	w.form(directors...)
	conf := w.example("lvs-dr.conf")
	w.ctl("d1", "push", conf, "-m", "first")
	w.runs(1, directors...)
	w.owned(15*time.Second, "d1", vip, directors...)
	w.kill("d3")
	w.damage("d3", func(b []byte) []byte { return b[:len(b)*2/3] }) // in the midst of the generation
	w.startClusterd("d3")
	w.eventually(20*time.Second, "status names the damage and the way out", func() string {
		r := w.tryCtl("d1", "status")
		for _, want := range []string{"d3", "damaged", "join again"} {
			if !strings.Contains(r.out, want) {
				return r.String()
			}
		}
		return ""
	})
	// Committed; d3 cannot run it (8), and nobody waits long for it (9).
	if r := w.tryCtl("d1", "push", w.second(conf), "-m", "second", "--timeout", "3s"); r.code != 8 && r.code != 9 {
		t.Errorf("push: %v, want exit status 8 or 9", r)
	}
	w.runs(2, "d1", "d2")
	w.kill("d1")
	w.kill("d2")
	w.owned(15*time.Second, "d3", vip, "d3")

	w.clusterd("d1")
	w.clusterd("d2")
	w.ready("d1", "d1", "d2")
	w.rejoin("d1", "d3")
	w.ready("d1", directors...)
	w.runs(2, directors...)
}

// Two of three directors come back as they were yesterday (virtual machines that went back to a snapshot), elect one of them and go on.
// What was acknowledged since is on the third only: it keeps its VIPs and what it runs, status says what has happened, and what it
// says to do brings all to one configuration again.
func TestRestoredDirectors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2", "d3")
	directors := []string{"d1", "d2", "d3"}
	w.form(directors...)
	conf := w.example("lvs-dr.conf")
	w.ctl("d1", "push", conf, "-m", "first")
	w.runs(1, directors...)
	w.owned(15*time.Second, "d1", vip, directors...)
	for _, d := range []string{"d2", "d3"} {
		w.kill(d)
		if err := os.CopyFS(w.stateDir(d)+".old", os.DirFS(w.stateDir(d))); err != nil {
			t.Fatal(err)
		}
		w.clusterd(d)
	}
	w.ready("d1", directors...)
	w.ctl("d1", "push", w.second(conf), "-m", "second")
	w.runs(2, directors...)
	for _, d := range directors {
		w.kill(d)
	}
	for _, d := range []string{"d2", "d3"} {
		if err := os.RemoveAll(w.stateDir(d)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(w.stateDir(d)+".old", w.stateDir(d)); err != nil {
			t.Fatal(err)
		}
		w.clusterd(d)
	}
	w.ready("d2", "d2", "d3")
	w.startClusterd("d1")
	said := ""
	w.eventually(20*time.Second, "status names the older copies", func() string {
		r := w.tryCtl("d2", "status")
		if said = r.out; !strings.Contains(said, "d1: ") || !strings.Contains(said, "older copies") {
			return r.String()
		}
		return ""
	})
	w.owned(15*time.Second, "d1", vip, directors...)
	if got := w.history("d2"); len(got) != 1 {
		t.Errorf("history of d2: %+v, want 1 generation", got)
	}
	// How much d1 knew to be committed when it was killed decides whether its store can go on with theirs.
	switch {
	case strings.Contains(said, "join again"):
		w.rejoin("d2", "d1")
	case !strings.Contains(said, "clusterctl push"):
		t.Errorf("no remedy in\n%s", said)
	}
	third := strings.Replace(string(readFile(w, conf)), "@d1 priority 150", "@d1 priority 30", 1)
	w.ctl("d2", "push", w.write("third.conf", third), "-m", "third") // it has the number of the one that was lost
	w.runs(2, directors...)
	w.ready("d2", directors...)
	w.owned(15*time.Second, "d2", vip, directors...)
}

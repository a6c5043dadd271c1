package real

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What a guest's log says is put where it belongs in the time line, whatever its clock shows, and has shown.
func TestLogOfGuest(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var now time.Duration
	began := time.Now()
	l := &hostLog{file: f, now: func() time.Duration { return now }, start: began}
	if got := l.when(3, began.Add(2*time.Second)); got != 2*time.Second {
		t.Errorf("a line on this kernel: %v", got)
	}
	for i, c := range []struct {
		text  string
		at    time.Duration // it came
		clock time.Duration // of the guest then, after began
		said  time.Duration // in the line
		want  time.Duration
	}{
		{text: "booted with a clock of 1970\n", at: 5 * time.Second, clock: -56 * 8760 * time.Hour, said: -56*8760*time.Hour - 30*time.Millisecond, want: 4970 * time.Millisecond},
		{text: "a jump ahead after it was written\n", at: 6 * time.Second, clock: 24 * time.Hour, said: time.Second, want: 6 * time.Second},
		{text: "a jump back\n", at: 7 * time.Second, clock: -time.Hour, said: 24 * time.Hour, want: 7 * time.Second},
	} {
		now = c.at
		l.add([]byte(c.text[:3]), began.Add(c.clock-time.Millisecond))
		l.add([]byte(c.text[3:]), began.Add(c.clock))
		if got := l.when(i, began.Add(c.said)); got != c.want {
			t.Errorf("%q: %v, want %v", c.text, got, c.want)
		}
	}
	if b, err := os.ReadFile(f.Name()); err != nil || len(b) != len("booted with a clock of 1970\na jump ahead after it was written\na jump back\n") {
		t.Errorf("the file: %q %v", b, err)
	}
}

package real

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// terminal is the guest's side of a line as User Mode Linux has it: once more has come than it holds, it is dead.
type terminal struct {
	mu   sync.Mutex
	come sync.Cond
	held []byte
	over bool
	out  io.Writer
}

const terminalHolds = 4096

func (t *terminal) Read(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.held) == 0 && !t.over {
		t.come.Wait()
	}
	if t.over {
		return 0, errors.New("overrun")
	}
	n := copy(b, t.held)
	t.held = t.held[n:]
	return n, nil
}

func (t *terminal) Write(b []byte) (int, error) { return t.out.Write(b) }

func (t *terminal) Close() error { return nil }

func (t *terminal) take(from io.Reader) {
	b := make([]byte, 100)
	for {
		n, err := from.Read(b)
		t.mu.Lock()
		t.held = append(t.held, b[:n]...)
		t.over = t.over || err != nil || len(t.held) > terminalHolds
		t.come.Broadcast()
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Whatever the player sends, and however slowly the agent reads, the terminal between them never holds more than it can, and all octets
// come through both ways; a line that ends, or on which something else speaks, ends both.
func TestLine(t *testing.T) {
	here, there := net.Pipe()
	tty := &terminal{out: there}
	tty.come.L = &tty.mu
	go tty.take(there)
	player, agent := newPlayerLine(here), &agentLine{tty: tty}
	want := make([]byte, 100_000)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	go func() { // it answers in other pieces than it is asked
		b := make([]byte, 3000)
		for {
			n, err := agent.Read(b)
			if err != nil {
				return
			}
			time.Sleep(time.Millisecond / 4)
			if _, err := agent.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	sent := make(chan error, 1)
	go func() { _, err := player.Write(want); sent <- err }()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(player, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("echo: %v, equal: %v", err, bytes.Equal(got, want))
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}

	if _, err := there.Write([]byte{7, 0, 0}); err != nil { // neither data nor a receipt
		t.Fatal(err)
	}
	if _, err := player.Read(got); err == nil || err.Error() != "garbled line to the agent" {
		t.Errorf("garbled: %v", err)
	}
	if err := player.Close(); err != nil {
		t.Error(err)
	}
	if _, err := player.Write(want); err == nil {
		t.Error("a line that has ended takes what is written")
	}
}

package real

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// The line between a player and its agent is a terminal on the agent's side. Once a terminal has had more octets than its 4096 without a
// reader, User Mode Linux 6.1 never takes another one. So the agent says how many it has read, and the player
// lets no more than lineWindow be on their way; what the agent sends is cut into frames for that: a kind, a length of two octets, and so many
// octets of data, or none of those where the length is how many octets were read.

const lineWindow = 2048

const (
	lineData byte = iota
	lineRead
)

// playerLine is the player's end.
type playerLine struct {
	conn io.ReadWriteCloser
	data *io.PipeReader

	mu    sync.Mutex
	room  sync.Cond
	onWay int
	err   error
}

func newPlayerLine(conn io.ReadWriteCloser) *playerLine {
	r, w := io.Pipe()
	l := &playerLine{conn: conn, data: r}
	l.room.L = &l.mu
	go func() {
		err := l.receive(w)
		_ = w.CloseWithError(err) // never fails
		l.mu.Lock()
		defer l.mu.Unlock()
		l.err = err
		l.room.Broadcast()
	}()
	return l
}

func (l *playerLine) receive(data io.Writer) error {
	var head [3]byte
	for {
		if _, err := io.ReadFull(l.conn, head[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint16(head[1:]))
		switch head[0] {
		case lineData:
			if _, err := io.CopyN(data, l.conn, int64(n)); err != nil {
				return err
			}
		case lineRead:
			l.mu.Lock()
			l.onWay -= n
			l.room.Broadcast()
			l.mu.Unlock()
		default:
			return errors.New("garbled line to the agent")
		}
	}
}

func (l *playerLine) Read(b []byte) (int, error) { return l.data.Read(b) }

func (l *playerLine) Write(b []byte) (done int, err error) {
	for done < len(b) {
		l.mu.Lock()
		for l.onWay == lineWindow && l.err == nil {
			l.room.Wait()
		}
		n, err := min(len(b)-done, lineWindow-l.onWay), l.err
		l.onWay += n
		l.mu.Unlock()
		if err == nil {
			_, err = l.conn.Write(b[done : done+n])
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

func (l *playerLine) Close() error { return l.conn.Close() }

// agentLine is the agent's end.
type agentLine struct {
	tty io.ReadWriteCloser
	mu  sync.Mutex // of what is sent
}

func (l *agentLine) send(kind byte, n int, data []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.tty.Write(append(binary.BigEndian.AppendUint16([]byte{kind}, uint16(n)), data...))
	return err
}

func (l *agentLine) Read(b []byte) (int, error) {
	n, err := l.tty.Read(b[:min(len(b), lineWindow)])
	if err == nil {
		err = l.send(lineRead, n, nil)
	}
	return n, err
}

func (l *agentLine) Write(b []byte) (done int, err error) {
	for done < len(b) {
		n := min(len(b)-done, 4096)
		if err := l.send(lineData, n, b[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

func (l *agentLine) Close() error { return l.tty.Close() }

// rawMode has a terminal pass on octets as they are (termios(3), cfmakeraw).
func rawMode(tty *os.File) error {
	rc, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	ctlErr := rc.Control(func(fd uintptr) {
		var t *unix.Termios
		if t, err = unix.IoctlGetTermios(int(fd), unix.TCGETS); err != nil {
			return
		}
		t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		t.Oflag &^= unix.OPOST
		t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
		err = unix.IoctlSetTermios(int(fd), unix.TCSETS, t)
	})
	return errors.Join(ctlErr, err)
}

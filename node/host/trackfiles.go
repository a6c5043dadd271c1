package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/node"
)

// follow starts what tells of tracked files and processes; what followed others before ends.
func (e *elector) follow(a node.WatchTrackers) {
	if e.unfollow != nil {
		e.unfollow()
	}
	ctx, cancel := context.WithCancel(e.bg)
	e.unfollow = cancel
	if len(a.Files) > 0 {
		go followFiles(ctx, a.Files, e.fresh(a.Files), func(n node.FileNumber) { e.post(n) }, e.changes())
	}
	if len(a.Processes) > 0 {
		go followProcesses(ctx, a.Processes, func(n node.ProcessCount) { e.post(n) }, e.changes())
	}
}

// fresh are the files that this process has not followed before: only those are initialised. A number that was
// written since must survive a reload; after a crash the worker before this one has done it.
func (e *elector) fresh(list []*config.TrackFile) (files []*config.TrackFile) {
	for _, t := range list {
		if !e.followed[t.File.V] && !e.adopted {
			files = append(files, t)
		}
		e.followed[t.File.V] = true
	}
	e.adopted = false
	return files
}

// troubled passes a Trouble to the goroutine that may report it.
type troubled struct {
	key string
	err error
}

// changes is for one goroutine to say how things are as often as it likes: only what is new gets through.
func (e *elector) changes() func(key string, err error) {
	last := map[string]string{}
	return func(key string, err error) {
		text := ""
		if err != nil {
			text = err.Error()
		}
		if last[key] != text {
			last[key] = text
			e.post(troubled{key, err})
		}
	}
}

// lookAgain is how often files are read without a hint: inotify tells nothing of /proc, of network file systems, and of
// a directory that did not exist when it was asked.
const lookAgain = time.Second

// followFiles tells the number in each track_file, at once and on every change, until ctx ends. How the files
// come to be written does not matter: in place, by rename, or after they were missing.
func followFiles(ctx context.Context, list, fresh []*config.TrackFile, tell func(node.FileNumber), trouble func(key string, err error)) {
	hints := make(chan struct{}, 1)
	dirs := map[string]bool{}
	notes, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		f := os.NewFile(uintptr(notes), "inotify") // its Close ends the Read below
		defer f.Close()
		go func() {
			buf := make([]byte, 4096)
			for {
				if _, err := f.Read(buf); err != nil {
					return
				}
				select {
				case hints <- struct{}{}:
				default:
				}
			}
		}()
	}
	watch := func() {
		for _, t := range list {
			dir := filepath.Dir(t.File.V)
			if err == nil && !dirs[dir] {
				_, werr := unix.InotifyAddWatch(notes, dir, unix.IN_CLOSE_WRITE|unix.IN_MOVE|unix.IN_DELETE)
				dirs[dir] = werr == nil
			}
		}
	}
	for _, t := range fresh {
		trouble("init_file of track_file "+t.Name, initFile(t))
	}
	last := map[string]int{}
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		watch()
		for _, t := range list {
			n, err := readNumber(t.File.V)
			trouble("track_file "+t.Name, err)
			was, known := last[t.Name]
			if errors.Is(err, errNumber) && known {
				continue // keepalived 2.2.7, measured: what cannot be a number changes nothing
			}
			if !known || n != was {
				last[t.Name] = n
				tell(node.FileNumber{File: t.Name, Number: n})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-hints:
		case <-tick.C:
			clear(dirs) // one that was removed and made again has no watch; to ask again for another is harmless
		}
	}
}

const emptyFor = 10 * time.Millisecond

var errNumber = errors.New("outside the range of a number, ignored")

// readNumber reads what strtol would: blanks, a sign, decimal, 0x or octal digits; what follows them does not matter. A file that is
// missing, empty or without a number is 0 (keepalived 2.2.7, measured).
func readNumber(path string) (int, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe must not stop us
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return 0, errors.Join(err, fmt.Errorf("%s is no regular file", path))
	}
	buf := make([]byte, 127)
	n, _ := f.Read(buf)
	if n == 0 { // perhaps it has just been cut and is about to be written: only one that stays empty is 0
		time.Sleep(emptyFor)
		n, _ = f.ReadAt(buf, 0)
	}
	v, err := leadingNumber(string(buf[:n]))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

func leadingNumber(text string) (int, error) {
	text = strings.TrimLeft(text, " \t\n\v\f\r")
	sign := ""
	if text != "" && (text[0] == '-' || text[0] == '+') {
		sign, text = strings.Trim(text[:1], "+"), text[1:]
	}
	base, set := 10, "0123456789"
	digits := func(s string) string {
		end := strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(set, r) })
		if end >= 0 {
			s = s[:end]
		}
		return s
	}
	switch {
	case strings.HasPrefix(text, "0x") || strings.HasPrefix(text, "0X"):
		base, set, text = 16, "0123456789abcdefABCDEF", text[2:]
	case strings.HasPrefix(text, "0"):
		base, set = 8, "01234567"
	}
	d := digits(text)
	if d == "" {
		return 0, nil
	}
	v, err := strconv.ParseInt(sign+d, base, 32)
	if err != nil {
		return 0, fmt.Errorf("number %s%s is %w", sign, d[:min(len(d), 20)], errNumber)
	}
	return int(v), nil
}

// initFile does what init_file [VALUE] [overwrite] says: the file is made if it is missing, or written in any case.
func initFile(t *config.TrackFile) error {
	if t.Init == nil {
		return nil
	}
	value := "0"
	if len(t.Init) > 0 && t.Init[0] != "overwrite" {
		value = t.Init[0]
	}
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if slices.Contains(t.Init, "overwrite") {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(t.File.V, how|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	return errors.Join(err, f.Close())
}

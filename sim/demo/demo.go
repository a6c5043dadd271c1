package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"quorate/sim/netns"
)

// Level is what the lab is made of; see the package comment.
type Level string

// Levels, worst to best except for Auto, which picks.
const (
	Auto  Level = "auto"
	VIP   Level = "vip"
	UML   Level = "uml"
	Netns Level = "netns"
)

// Fault is what happens to the owner.
type Fault string

// Faults. After Kill the dead owner's kernel still has the address and goes on forwarding, so few
// requests or none are lost; Cable takes the whole director off the network.
const (
	Kill  Fault = "kill"
	Cable Fault = "cable"
)

// Options of Run. Out, BinDir and Examples are required.
type Options struct {
	Out      io.Writer
	BinDir   string // where clusterd and clusterctl are
	Examples fs.FS  // has lvs-dr.conf and vip-only.conf
	Level    Level  // Auto when empty
	Fault    Fault  // Kill when empty
	Keep     string // directory for the capture and the logs; a new one below os.TempDir when empty
}

// ExitError says that the demo ran in another process, which has reported everything and ended with Code.
type ExitError struct{ Code int }

// Error is for callers that print it all the same.
func (e *ExitError) Error() string { return fmt.Sprintf("demo ended with exit status %d", e.Code) }

// guestVar tells the program inside a guest what the one outside has decided, as JSON of guest.
const guestVar = "QUORATE_DEMO_GUEST"

type guest struct {
	Why  string
	Keep string
}

// endSignals end the demo in good order. SIGPIPE is among them for "clusterctl demo | head".
var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE}

// Run shows the demo. It returns nil only if the client was served again after the fault and no
// longer lost requests. Ctrl-C, SIGTERM and the end of ctx take everything down.
func Run(ctx context.Context, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	inside, status, err := netns.Enter(ctx, netns.EnterOptions{})
	var blocked *netns.BlockedError
	switch {
	case errors.As(err, &blocked) && (o.Level == Auto || o.Level == UML) && umlAvailable() == nil:
		// A guest needs no namespaces of its host.
		ctx, stop := signal.NotifyContext(ctx, endSignals...)
		defer stop()
		forget, err := o.makeKeep()
		if err != nil {
			return err
		}
		defer forget(ctx)
		return runGuest(ctx, o, guest{Keep: o.Keep, Why: fmt.Sprintf("not netns: %s: %v", blocked.Step, blocked.Err)})
	case err != nil:
		return err
	case !inside && status != 0:
		return &ExitError{status}
	case !inside:
		return nil
	}
	ctx, stop := signal.NotifyContext(ctx, endSignals...)
	defer stop()
	if text := os.Getenv(guestVar); text != "" { // the process outside of the guest cleans up
		var g guest
		if err := json.Unmarshal([]byte(text), &g); err != nil {
			return fmt.Errorf("environment variable %s=%q: %w", guestVar, text, err)
		}
		o.Keep = g.Keep
		if err := ipvsUsable(); err != nil {
			return fmt.Errorf("level uml: no IPVS in the guest either: %w", err)
		}
		return show(ctx, o, UML, g.Why)
	}
	forget, err := o.makeKeep()
	if err != nil {
		return err
	}
	defer forget(ctx)
	level, why, err := choose(o.Level, ipvsUsable, umlAvailable)
	if err != nil {
		return err
	}
	if level == UML {
		return runGuest(ctx, o, guest{Why: why, Keep: o.Keep})
	}
	return show(ctx, o, level, why)
}

// complete checks the options and sets defaults.
func (o *Options) complete() error {
	switch o.Level {
	case "":
		o.Level = Auto
	case Auto, VIP, UML, Netns:
	default:
		return fmt.Errorf("level %q: want auto, netns, uml or vip", o.Level)
	}
	switch o.Fault {
	case "":
		o.Fault = Kill
	case Kill, Cable:
	default:
		return fmt.Errorf("fault %q: want kill or cable", o.Fault)
	}
	var err error
	if o.BinDir, err = filepath.Abs(o.BinDir); err != nil {
		return err
	}
	for _, name := range []string{"clusterd", "clusterctl"} {
		if _, err := os.Stat(filepath.Join(o.BinDir, name)); err != nil {
			return fmt.Errorf("demo needs both programs in one directory: %w\n  remedy: make build, then bin/clusterctl demo", err)
		}
	}
	for _, name := range []string{exampleLVS, exampleVIP} {
		if _, err := fs.Stat(o.Examples, name); err != nil {
			return fmt.Errorf("example: %w", err)
		}
	}
	return nil
}

// makeKeep makes the directory that outlives the demo. forget removes it again if the user
// interrupted a demo that he gave no directory: he wants nothing of it.
func (o *Options) makeKeep() (forget func(context.Context), err error) {
	forget = func(context.Context) {}
	if o.Keep == "" {
		if o.Keep, err = os.MkdirTemp("", "quorate-demo-"); err == nil {
			dir := o.Keep
			forget = func(ctx context.Context) {
				if ctx.Err() != nil {
					_ = os.RemoveAll(dir) // what is left is a file or two in the temporary directory
				}
			}
		}
	} else if o.Keep, err = filepath.Abs(o.Keep); err == nil {
		err = os.MkdirAll(o.Keep, 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("directory for the capture: %w", err)
	}
	return forget, nil
}

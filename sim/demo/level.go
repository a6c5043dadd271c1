package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorate/sim/uml"
)

// guestTimeout bounds a guest: boot, the whole show at a guest's speed, halt.
const guestTimeout = 4 * time.Minute

// choose picks the level and says why not a better one. The probes say why they fail.
func choose(want Level, ipvs, guest func() error) (Level, string, error) {
	if want == VIP {
		return VIP, "asked for", nil
	}
	if want == UML {
		if err := guest(); err != nil {
			return "", "", fmt.Errorf("level uml: %w", err)
		}
		return UML, "asked for", nil
	}
	noIPVS := ipvs()
	if noIPVS == nil {
		return Netns, "this kernel has IPVS", nil
	}
	if want == Netns {
		return "", "", fmt.Errorf("level netns: %w\n  remedy: modprobe ip_vs and run as root, or --level uml, or --level vip", noIPVS)
	}
	noGuest := guest()
	if noGuest == nil {
		return UML, fmt.Sprintf("not netns: %v", noIPVS), nil
	}
	return VIP, fmt.Sprintf("not netns: %v; not uml: %v", noIPVS, noGuest), nil
}

// ipvsUsable tries the kernel's IPVS in this network namespace.
func ipvsUsable() error {
	// Asking for the family loads the module where that is allowed.
	if _, err := netlink.GenlFamilyGet("IPVS"); err != nil {
		return fmt.Errorf("this kernel has no IPVS (%w)", err)
	}
	h, err := ipvs.New("")
	if err != nil {
		return fmt.Errorf("IPVS: %w", err)
	}
	defer h.Close()
	if _, err = h.GetServices(); errors.Is(err, unix.EPERM) {
		// Generic netlink asks for CAP_NET_ADMIN in the first user namespace.
		return fmt.Errorf("IPVS is for the host's root only (%w)", err)
	} else if err != nil {
		return fmt.Errorf("IPVS: %w", err)
	}
	return nil
}

func umlAvailable() error { return uml.Available() }

// runGuest runs this program, with these arguments, on a kernel of its own.
func runGuest(ctx context.Context, o Options, g guest) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("level uml: %w", err)
	}
	text, err := json.Marshal(g)
	if err != nil {
		return err
	}
	code, err := uml.Run(ctx, uml.Job{
		Argv:    append([]string{self}, os.Args[1:]...),
		Env:     []string{guestVar + "=" + string(text)},
		Timeout: guestTimeout,
		Stdout:  o.Out,
	})
	if err != nil {
		return fmt.Errorf("level uml: %w", err)
	}
	if code != 0 {
		return &ExitError{code}
	}
	return nil
}

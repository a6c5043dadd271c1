package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorate/ipvs"
)

// Errors of Open.
var (
	// ErrMissing: this kernel has no IPVS and could not load it.
	ErrMissing = errors.New("the kernel has no IPVS: run \"modprobe ip_vs\", or install a kernel with CONFIG_IP_VS")
	// ErrPermission: there is IPVS, but this process may use neither interface.
	ErrPermission = errors.New("no permission to use IPVS: it needs CAP_NET_ADMIN (run as root, or in a user and network namespace of your own)")
)

// Errors of a Backend.
var (
	// ErrTimeout: the kernel did not answer a request in time. The next request uses a new socket.
	ErrTimeout = errors.New("the kernel did not answer an IPVS request within " + requestTimeout.String())
	// ErrIPv6: the interface in use cannot do it.
	ErrIPv6 = errors.New("IPv6 services need IPVS over netlink, as root; the socket options know IPv4 only")
	// ErrClosed: the backend was used after Close.
	ErrClosed = errors.New("ipvs backend is closed")
)

// genlFamily is the name of IPVS in generic netlink.
const genlFamily = "IPVS"

// Open returns a backend for the network namespace of the calling thread. Errors wrap ErrMissing, ErrPermission or the
// kernel's own. Log may be nil.
func Open(log *slog.Logger) (ipvs.Backend, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	// This comes first also for the socket options: it is what loads the module.
	_, familyErr := netlink.GenlFamilyGet(genlFamily)
	if familyErr == nil {
		b, err := OpenNetlink()
		if err == nil {
			log.Debug("IPVS is programmed by netlink")
			return b, nil
		}
		if !permission(err) {
			return nil, err
		}
		log.Debug("IPVS over netlink is not permitted, trying socket options", "err", err)
	}
	b, err := OpenSockopt()
	switch {
	case err == nil:
		log.Info("IPVS is programmed by socket options, which know IPv4 only", "why", "netlink is for root of the host")
		return b, nil
	case errors.Is(err, unix.ENOPROTOOPT):
		if familyErr == nil {
			return nil, ErrPermission
		}
		return nil, fmt.Errorf("%w (netlink: %v)", ErrMissing, familyErr)
	case permission(err):
		return nil, ErrPermission
	}
	return nil, err
}

func permission(err error) bool { return errors.Is(err, os.ErrPermission) }

// apply carries out ops in order with do, which is one interface's way to carry out one.
func apply(ops []ipvs.Op, do func(ipvs.Op) error) error {
	for _, op := range ops {
		if err := applyOne(op, do); err != nil {
			return &ipvs.OpError{Op: op, Err: err}
		}
	}
	return nil
}

func applyOne(op ipvs.Op, do func(ipvs.Op) error) error {
	if err := op.Validate(); err != nil {
		return err
	}
	err := do(op)
	switch op.Kind {
	case ipvs.AddService, ipvs.AddDestination:
		if errors.Is(err, unix.EEXIST) {
			op.Kind++ // the edit of the same thing
			err = do(op)
		}
	case ipvs.DeleteService, ipvs.DeleteDestination:
		// ESRCH: no such service; ENOENT: no such destination.
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
			return nil
		}
	}
	return explain(op, err)
}

// explain adds what the errno does not say.
func explain(op ipvs.Op, err error) error {
	aboutService := op.Kind == ipvs.AddService || op.Kind == ipvs.EditService
	switch {
	case err == nil:
		return nil
	case aboutService && errors.Is(err, unix.ENOENT):
		return fmt.Errorf("the kernel has no scheduler %q (module ip_vs_%s): %w", op.Service.Scheduler, op.Service.Scheduler, err)
	case op.Kind == ipvs.AddDestination && errors.Is(err, unix.EINVAL):
		// Without any address of its own, a namespace has no local routing table, and takes no address for unicast.
		return fmt.Errorf("the kernel takes %s for no server's address, as it does when no interface is up: %w", op.Destination.Addr, err)
	case errors.Is(err, unix.ESRCH):
		return fmt.Errorf("no such service: %w", err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("no such destination: %w", err)
	}
	return err
}

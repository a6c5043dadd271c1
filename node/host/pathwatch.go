package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pathsChanged says that some route or rule of the host disappeared, whoever's it was.
type pathsChanged struct{}

// pathWatch listens for routes and rules that disappear.
type pathWatch struct{ out func(any) }

// pathPause is the least time between two reports: a router's table may change all the time.
const pathPause = 100 * time.Millisecond

func newPathWatch(out func(any)) *pathWatch { return &pathWatch{out} }

// run works until ctx ends. What cannot be subscribed to is found out by link changes only.
func (p *pathWatch) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := p.session(ctx); err != nil {
			sleep(ctx, linkRetry)
		}
		p.out(pathsChanged{}) // something may have been missed
	}
}

func (p *pathWatch) session(ctx context.Context) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	f := os.NewFile(uintptr(fd), "paths")
	defer func() { _ = f.Close() }()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	for _, g := range []int{unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	defer stop()
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		if err != nil {
			if errors.Is(err, unix.ENOBUFS) { // too many at once: some were lost
				n = 0
			} else {
				return err
			}
		}
		if err != nil || deletes(buf[:n]) {
			p.out(pathsChanged{})
			sleep(ctx, pathPause)
		}
	}
}

// deletes says whether a packet tells of a deletion.
func deletes(b []byte) bool {
	for len(b) >= 16 {
		size := int(binary.NativeEndian.Uint32(b))
		if size < 16 || size > len(b) {
			return false
		}
		if k := binary.NativeEndian.Uint16(b[4:]); k == unix.RTM_DELROUTE || k == unix.RTM_DELRULE {
			return true
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return false
}

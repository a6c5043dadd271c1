package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/spf13/cobra"

	"quorate/internal/console"
	"quorate/sim/replay"
)

// vrrpCmd is about VRRP on the wire; it needs no clusterd.
func (c *cli) vrrpCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "vrrp", Short: "look at VRRP on the wire", Args: console.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(c.vrrpDecodeCmd())
	return cmd
}

func (c *cli) vrrpDecodeCmd() *cobra.Command {
	var file, iface, pass string
	cmd := &cobra.Command{
		Use:   "decode (-r FILE | -i INTERFACE)",
		Short: "judge every advert, ARP and neighbour advertisement of a capture, and say what happened",
		Long: `decode prints one line per VRRP, AH, ARP or neighbour advertisement packet with a verdict and the reason, then who owned what
and when, every election with its cause, conflicts between routers that share a VRID, and the intervals with two owners.

FILE is a pcap or pcapng file, gzip-compressed or not, "-" for standard input. On an interface it listens until Ctrl-C or
--timeout; a switch with IGMP snooping may keep adverts away from a port that has not joined 224.0.0.18.

An advert is judged by itself, and by what the owner before it sends on the same network: version, authentication, interval,
addresses, checksum, unicast or multicast. Check values of auth_type AH are verified when --auth-pass is given.`,
		Example: "  clusterctl vrrp decode -r split-brain.pcapng\n  clusterctl vrrp decode -r ah.pcap --auth-pass s3cr3tpw -o json | jq 'select(.verdict==\"reject\")'\n  clusterctl vrrp decode -i eth0 --timeout 1m",
		Args:    console.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := replay.Options{AuthPass: pass, CheckAH: cmd.Flags().Changed("auth-pass")}
			switch {
			case (file == "") == (iface == ""):
				return console.Usagef("give either -r FILE or -i INTERFACE")
			case iface != "":
				ctx := cmd.Context()
				if c.Timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.Timeout)
					defer cancel()
				}
				l, err := openLive(iface)
				if err != nil {
					return err
				}
				defer l.Close()
				return c.decode(l.frames(ctx), o, true)
			}
			in := c.In
			if file != "-" {
				f, err := os.Open(file)
				if err != nil {
					return err
				}
				defer func() { _ = f.Close() }()
				in = f
			}
			r, err := replay.NewReader(in)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if err := c.decode(r.Frames(), o, false); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&file, "read", "r", "", "pcap or pcapng file")
	f.StringVarP(&iface, "interface", "i", "", "interface to listen on (needs CAP_NET_RAW)")
	f.StringVar(&pass, "auth-pass", "", "password of auth_type AH; its check values are verified")
	return cmd
}

// decode prints lines as they come and the summary at the end, also when the capture ends badly.
func (c *cli) decode(frames iter.Seq2[replay.Frame, error], o replay.Options, live bool) error {
	w := bufio.NewWriter(c.Out)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	s, err := replay.Decode(frames, o, func(l replay.Line) error {
		var werr error
		if c.Output == "json" {
			werr = enc.Encode(l)
		} else {
			_, werr = fmt.Fprintln(w, console.Clean(l.String()))
		}
		if werr == nil && live {
			werr = w.Flush()
		}
		return werr
	})
	if c.Output == "json" {
		err = errors.Join(err, enc.Encode(s))
	} else {
		err = errors.Join(err, s.Write(cleaner{w}))
	}
	return errors.Join(err, w.Flush())
}

// cleaner keeps names from a capture file from steering the terminal.
type cleaner struct{ w io.Writer }

func (c cleaner) Write(b []byte) (int, error) {
	if _, err := io.WriteString(c.w, console.Clean(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

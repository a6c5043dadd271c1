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
	"strings"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
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

// decodeOptions are the flags of vrrp decode.
type decodeOptions struct {
	replay.Options
	file, iface string
	write       string
	count       int
	duration    time.Duration
	quiet       bool
	noPromisc   bool
	times       string
	style       replay.Style
}

func (c *cli) vrrpDecodeCmd() *cobra.Command {
	var o decodeOptions
	cmd := &cobra.Command{
		Use:   "decode (-r FILE | -i INTERFACE)",
		Short: "judge every advert, gratuitous ARP and neighbour advertisement of a capture, and say what happened",
		Long: `decode prints one line per VRRP, AH, gratuitous ARP or neighbour advertisement packet with a verdict and the reason, then who owned what
and when, every election with its cause, conflicts between routers that share a VRID, and the intervals with two owners. Other ARP
packets are shown when they are about a virtual address.

FILE is a pcap or pcapng file, gzip-compressed or not, "-" for standard input (ssh d1 tcpdump -U -w - | clusterctl vrrp decode -r -). On
an interface, or "any", it listens until Ctrl-C, -c or --duration; a switch with IGMP snooping may keep adverts away from a port that has
not joined 224.0.0.18.

An advert is judged by itself, and by what the owner before it sends on the same network: version, authentication, interval,
addresses, checksum, unicast or multicast. Check values of auth_type AH are verified when --auth-pass is given.`,
		Example: "  clusterctl vrrp decode -r split-brain.pcapng\n  clusterctl vrrp decode -r big.pcap.gz -q\n  clusterctl vrrp decode -r ah.pcap --auth-pass s3cr3tpw -o json | jq 'select(.verdict==\"reject\")'\n  clusterctl vrrp decode -i eth0 --duration 1m -w evidence.pcapng",
		Args:    console.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.CheckAH = cmd.Flags().Changed("auth-pass")
			if err := o.check(); err != nil {
				return err
			}
			ctx := cmd.Context()
			if o.duration == 0 {
				o.duration = c.Timeout
			}
			if o.duration > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, o.duration)
				defer cancel()
			}
			if o.iface != "" {
				return c.decodeLive(ctx, o)
			}
			return c.decodeFile(ctx, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.file, "read", "r", "", "pcap or pcapng file, - for standard input")
	f.StringVarP(&o.iface, "interface", "i", "", "interface to listen on, or any (needs root or CAP_NET_RAW)")
	f.IntVarP(&o.count, "count", "c", 0, "end after this many packets")
	f.DurationVar(&o.duration, "duration", 0, "end after this time, as 30s or 10m")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print no packets, only the summary")
	f.StringVarP(&o.times, "time", "t", "r", "times: r since the first frame, ad date and time here, ud in UTC")
	f.StringVarP(&o.write, "write", "w", "", "with -i: write what comes to this pcapng file too")
	f.BoolVarP(&o.noPromisc, "no-promiscuous", "p", false, "with -i: do not put the interface into promiscuous mode")
	f.StringVar(&o.AuthPass, "auth-pass", "", "password of auth_type AH; its check values are verified")
	return cmd
}

func (o *decodeOptions) check() error {
	switch {
	case (o.file == "") == (o.iface == ""):
		return console.Usagef("give either -r FILE or -i INTERFACE")
	case o.write != "" && o.iface == "":
		return console.Usagef("-w goes with -i: a file is a capture already")
	case o.count < 0:
		return console.Usagef("-c %d: want a number of packets", o.count)
	case o.duration < 0:
		return console.Usagef("--duration %v: want a time such as 30s", o.duration)
	}
	switch o.times {
	case "r":
	case "ad":
		o.style.In = time.Local
	case "ud":
		o.style.In = time.UTC
	default:
		return console.Usagef("-t %s: want r, ad or ud", o.times)
	}
	return nil
}

// decodeFile explains a capture; standard input and pipes may be captures in the making.
func (c *cli) decodeFile(ctx context.Context, o decodeOptions) error {
	in, flush := c.In, true
	if o.file != "-" {
		f, err := os.Open(o.file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		st, err := f.Stat()
		in, flush = f, err == nil && !st.Mode().IsRegular()
	}
	name := o.file
	if name == "-" {
		name = "standard input"
	}
	if flush {
		in = untilDone(ctx, in)
	}
	r, err := replay.NewReader(in)
	if ctx.Err() != nil {
		return nil // before anything came
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := c.decode(ctx, r.Frames(), o, flush); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// untilDone makes a read that waits for somebody end with the context.
func untilDone(ctx context.Context, in io.Reader) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, in)
		_ = w.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { _ = w.CloseWithError(io.EOF) })
	return r
}

// decodeLive explains what comes in on an interface.
func (c *cli) decodeLive(ctx context.Context, o decodeOptions) error {
	say := func(s string) { console.Say(c.Err, "clusterctl: %s\n", s) }
	l, err := openLive(o.iface, !o.noPromisc, say)
	if err != nil {
		return err
	}
	defer l.Close()
	frames := l.frames(ctx)
	if o.write != "" {
		f, err := os.Create(o.write)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // each packet is written by itself, with its error
		frames = saved(frames, f, o.iface)
	}
	say("listening on " + o.iface + " for VRRP, gratuitous ARP and neighbour advertisements; Ctrl-C ends it with the summary")
	err = c.decode(ctx, frames, o, true)
	if n := l.dropped(); n > 0 {
		say(fmt.Sprintf("%d frames came too fast and were lost: the summary may miss something", n))
	}
	return err
}

// saved writes the frames that pass by as pcapng.
func saved(frames iter.Seq2[replay.Frame, error], w io.Writer, name string) iter.Seq2[replay.Frame, error] {
	return func(yield func(replay.Frame, error) bool) {
		var ng *pcapgo.NgWriter
		index := map[string]int{}
		for f, err := range frames {
			if err == nil {
				if ng, err = save(ng, w, index, f, name); err != nil {
					err = fmt.Errorf("write the capture: %w", err)
				}
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

func save(ng *pcapgo.NgWriter, w io.Writer, index map[string]int, f replay.Frame, name string) (*pcapgo.NgWriter, error) {
	if f.Interface != "" {
		name = f.Interface
	}
	n, ok := index[name]
	if !ok {
		var err error
		i := pcapgo.NgInterface{Name: name, LinkType: layers.LinkType(f.Link), TimestampResolution: 9}
		if ng == nil {
			ng, err = pcapgo.NewNgWriterInterface(w, i, pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "clusterctl vrrp decode"}})
		} else {
			n, err = ng.AddInterface(i)
		}
		if err != nil {
			return ng, err
		}
		index[name] = n
	}
	err := ng.WritePacket(gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Data), Length: f.Length, InterfaceIndex: n}, f.Data)
	return ng, errors.Join(err, ng.Flush())
}

// errEnough ends a capture after -c packets, or with the context.
var errEnough = errors.New("enough")

// decode prints lines as they come and the summary at the end, also when the capture ends badly. flush does not wait for a
// screenful.
func (c *cli) decode(ctx context.Context, frames iter.Seq2[replay.Frame, error], o decodeOptions, flush bool) error {
	w := bufio.NewWriter(c.Out)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	lines := 0
	s, err := replay.Decode(during(ctx, frames), o.Options, func(l replay.Line) error {
		var err error
		switch {
		case o.quiet:
		case c.Output == "json":
			err = enc.Encode(l)
		default:
			_, err = fmt.Fprintln(w, c.paint(l, console.Clean(l.Format(o.style))))
		}
		if err == nil && flush {
			err = w.Flush()
		}
		if lines++; err == nil && lines == o.count {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		err = nil
	}
	if c.Output == "json" {
		err = errors.Join(err, enc.Encode(s))
		for _, note := range s.Notes {
			console.Say(c.Err, "clusterctl: %s\n", note)
		}
	} else {
		err = errors.Join(err, s.Write(cleaner{w}, o.style))
	}
	return errors.Join(err, w.Flush())
}

// during ends with the context, however fast frames come.
func during(ctx context.Context, frames iter.Seq2[replay.Frame, error]) iter.Seq2[replay.Frame, error] {
	return func(yield func(replay.Frame, error) bool) {
		for f, err := range frames {
			if ctx.Err() != nil || !yield(f, err) {
				return
			}
		}
	}
}

// paint makes what is refused stand out.
func (c *cli) paint(l replay.Line, text string) string {
	if l.OK || !c.UseColor() {
		return text
	}
	return strings.Replace(text, "  reject  ", "  \x1b[1;31mreject\x1b[0m  ", 1)
}

// cleaner keeps names from a capture file from steering the terminal.
type cleaner struct{ w io.Writer }

func (c cleaner) Write(b []byte) (int, error) {
	if _, err := io.WriteString(c.w, console.Clean(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

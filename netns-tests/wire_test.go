package netnstests

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"quorate/internal/testenv"
)

const (
	killSignal = syscall.SIGKILL
	termSignal = syscall.SIGTERM
)

// advert is a VRRP packet of the capture; read here by hand, so that the daemon's codec does not vouch for itself.
type advert struct {
	at       time.Time
	mac      string
	src      netip.Addr
	version  int
	vrid     int
	priority int
}

// arp is an ARP packet of the capture.
type arp struct {
	at         time.Time
	mac        string // Ethernet source
	sender     netip.Addr
	target     netip.Addr
	gratuitous bool
}

// traffic reads what the capture has so far.
func (w *world) traffic() (adverts []advert, arps []arp) {
	w.Helper()
	f, err := os.Open(w.pcap)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	ng, err := pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		w.Fatal(err)
	}
	for {
		data, ci, err := ng.ReadPacketData()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // a packet is being written now
			return adverts, arps
		}
		if err != nil {
			w.Fatal(err)
		}
		p := gopacket.NewPacket(data, layers.LinkTypeEthernet, gopacket.Default)
		eth, _ := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
		if eth == nil {
			continue
		}
		mac := eth.SrcMAC.String()
		if ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4); ok && ip.Protocol == layers.IPProtocolVRRP && len(ip.Payload) >= 8 {
			src, _ := netip.AddrFromSlice(ip.SrcIP.To4())
			b := ip.Payload
			adverts = append(adverts, advert{ci.Timestamp, mac, src, int(b[0] >> 4), int(b[1]), int(b[2])})
		}
		if a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
			sender, _ := netip.AddrFromSlice(a.SourceProtAddress)
			target, _ := netip.AddrFromSlice(a.DstProtAddress)
			arps = append(arps, arp{ci.Timestamp, mac, sender, target, sender == target})
		}
	}
}

// lastAdvert is the last one a host sent.
func (w *world) lastAdvert(host string) advert {
	w.Helper()
	var last advert
	adverts, _ := w.traffic()
	for _, a := range adverts {
		if a.mac == w.mac(host) {
			last = a
		}
	}
	if last.at.IsZero() {
		w.Fatalf("%s sent no advert", host)
	}
	return last
}

// announced returns the times at which a host broadcast gratuitous ARP for addr after an instant.
func (w *world) announced(host string, addr netip.Addr, after time.Time) []time.Time {
	w.Helper()
	var out []time.Time
	_, arps := w.traffic()
	for _, a := range arps {
		if a.mac == w.mac(host) && a.gratuitous && a.sender == addr && a.at.After(after) {
			out = append(out, a.at)
		}
	}
	return out
}

func (w *world) mac(host string) string { return w.lab.Host(host).MAC().String() }

// hostOf names the host with an Ethernet address.
func (w *world) hostOf(mac net.HardwareAddr) string {
	for _, h := range w.lab.Hosts() {
		if h.MAC().String() == mac.String() {
			return h.Name()
		}
	}
	return mac.String()
}

// tshark runs Wireshark's decoder over the capture and returns one line per packet that passes the filter.
func (w *world) tshark(filter string, fields ...string) []string {
	w.Helper()
	testenv.Need(w, "tshark")
	args := []string{"-r", w.pcap, "-Y", filter, "-T", "fields", "-E", "separator=/s"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command("tshark", args...)
	cmd.Env = append(os.Environ(), "HOME="+w.dir) // without anybody's preferences
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			w.Fatalf("tshark %v: %v: %s", args, err, exit.Stderr)
		}
		w.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

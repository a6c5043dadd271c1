package sim

import (
	"time"

	"quorate/config"
	"quorate/node"
	"quorate/vrrp"
)

// frr is a director that behaves as FRR's vrrpd 8.4.4 does where that differs from ours (measured, and read in its captures):
//
//   - one gratuitous ARP per address when it becomes owner, none later, and none on a rival's advert;
//   - an advert of lower priority is not answered before its time;
//   - any list of addresses is accepted;
//   - it knows no passwords, scripts, tracked interfaces, sync groups, preempt_delay or notify scripts, and no unicast;
//   - a version 3 check sum must have the pseudo header (RFC 5798), the form of RFC 9568 is dropped;
//   - like keepalived it does not listen to who else claims its addresses, and remembers nothing.
//
// Elections and timers are our machine's. FRR counts in hundredths of a second and so takes over up to 10 ms earlier. Its
// macvlan with the virtual Ethernet address is not modelled: here its addresses move with the card's own.
type frr struct {
	Machine
	instances []*config.Instance
}

func newFRR(m Machine) Machine { return &frr{Machine: m} }

func (f *frr) Step(now time.Duration, ev node.Event) {
	switch e := ev.(type) {
	case node.Recovered, node.Claimed:
		return
	case node.Configure:
		e.Config = asFRR(e.Config)
		f.instances = e.Config.Instances
		f.Machine.Step(now, e)
		return
	case node.Received:
		if !sumOK(e.Packet) {
			return
		}
		e.Packet.Payload = f.anyList(e.Interface, e.Packet)
		f.Machine.Step(now, e)
		return
	}
	f.Machine.Step(now, ev)
}

// sumOK reports whether a version 3 advert has the check sum over pseudo header and message. Other versions and what is
// malformed are left to the machine.
func sumOK(p vrrp.Packet) bool {
	var a vrrp.Advert
	return !p.Src.Is4() || a.Decode(p.Payload, p.Src, p.Dst) != nil || a.Version != 3 || a.Checksum == vrrp.ChecksumPseudo
}

// anyList makes an advert carry the list of addresses that its receiver has, so that the machine does not look at it.
func (f *frr) anyList(iface string, p vrrp.Packet) []byte {
	var a vrrp.Advert
	if !p.Src.Is4() || a.Decode(p.Payload, p.Src, p.Dst) != nil {
		return p.Payload
	}
	for _, i := range f.instances {
		if i.VRID.V != int(a.VRID) || i.Interface.V != iface {
			continue
		}
		a.Addrs = nil
		for _, v := range i.VIPs {
			a.Addrs = append(a.Addrs, v.Prefix.Addr())
		}
		if same, err := a.Append(nil, p.Src, p.Dst, false); err == nil {
			return same
		}
	}
	return p.Payload
}

// asFRR is what is left of a configuration when FRR reads it.
func asFRR(c *config.Config) *config.Config {
	copied := *c
	copied.Scripts, copied.SyncGroups, copied.Instances = nil, nil, nil
	for _, i := range c.Instances {
		j := *i
		j.AuthType.V, j.AuthPass.V = "", ""
		j.TrackScripts, j.TrackIfaces, j.WeightedIfaces, j.TrackFiles, j.TrackProcesses = nil, nil, nil, nil, nil
		j.UnicastPeers, j.UnicastSrcIP.V = nil, config.Instance{}.UnicastSrcIP.V
		j.NotifyMaster, j.NotifyBackup, j.NotifyFault, j.NotifyStop, j.Notify = nil, nil, nil, nil, nil
		j.PreemptDelay.V = 0
		j.LowerPrioNoAdvert.V, j.LowerPrioNoAdvert.Set = true, true
		j.GARPMasterRepeat.V, j.GARPMasterDelay.V, j.GARPMasterRefresh.V = 1, 0, 0
		j.GARPLowerPrioRepeat.V, j.GARPLowerPrioDelay.V = 0, 0
		copied.Instances = append(copied.Instances, &j)
	}
	return &copied
}

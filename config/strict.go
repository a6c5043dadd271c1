package config

import "time"

// enforceStrict takes away from an instance what vrrp_strict or strict_mode does not allow, and says so where it was asked for
// (keepalived 2.2.7, measured). What only global_defs asks for goes without a word.
func (c *ctx) enforceStrict(i *Instance) {
	drop := func(at Pos, kw, why string) {
		c.warnf(at, "strict", kw, "delete it, or vrrp_strict", "%s is not allowed in strict mode: %s", kw, why)
	}
	if i.AuthType.Set {
		drop(i.AuthType.Pos, "authentication", "the RFC has no authentication; it is left out")
		i.AuthType, i.AuthPass = Value[string]{}, Value[string]{}
	}
	if len(i.UnicastPeers) > 0 {
		c.errorf(i.UnicastPeers[0].Pos, "strict", "unicast_peer", "delete it, or vrrp_strict", "unicast_peer is not allowed in strict mode: the RFC knows multicast only; keepalived does not start")
	}
	if i.PreemptDelay.V != 0 {
		drop(i.PreemptDelay.Pos, "preempt_delay", "it is left out")
		i.PreemptDelay.V = 0
	}
	if owner := i.Priority.V == 255; i.State.Set && owner != (i.State.V == "MASTER") {
		drop(i.State.Pos, "state "+i.State.V, "an owner (priority 255) starts as MASTER, and nobody else")
		i.State.V = map[bool]string{true: "MASTER", false: "BACKUP"}[owner]
	}
	if len(i.VIPs) == 0 && i.NoVirtualIPAddress.V {
		c.errorf(i.NoVirtualIPAddress.Pos, "strict", "no_virtual_ipaddress", "delete it, or vrrp_strict", "no_virtual_ipaddress is not allowed in strict mode: an instance needs an address")
	}
	if i.VMACXmitBase.Set {
		drop(i.VMACXmitBase.Pos, "vmac_xmit_base", "adverts must come from the virtual MAC address")
		i.VMACXmitBase = Value[bool]{}
	}
	if i.Version.V == 2 && i.Accept.Set && i.Accept.V && i.Priority.V != 255 { // RFC 3768 6.4.3
		drop(i.Accept.Pos, "accept", "in version 2 only an owner (priority 255) takes packets for the addresses")
		i.Accept.V = false
	}
	if i.DownTimerAdverts.V != 3 {
		if i.DownTimerAdverts.Set {
			drop(i.DownTimerAdverts.Pos, "down_timer_adverts", "it is 3")
		}
		i.DownTimerAdverts.V = 3
	}
	if i.GARPLowerPrioRepeat.Set && i.GARPLowerPrioRepeat.V != 0 {
		drop(i.GARPLowerPrioRepeat.Pos, "garp_lower_prio_repeat", "nothing is announced because of a lower priority")
	}
	if i.GARPLowerPrioDelay.Set && i.GARPLowerPrioDelay.V != 0 {
		drop(i.GARPLowerPrioDelay.Pos, "garp_lower_prio_delay", "nothing is announced because of a lower priority")
	}
	i.GARPLowerPrioRepeat.V, i.GARPLowerPrioDelay.V = 0, time.Duration(0)
	if i.LowerPrioNoAdvert.Set && !i.LowerPrioNoAdvert.V {
		drop(i.LowerPrioNoAdvert.Pos, "lower_prio_no_advert off", "a lower priority is not answered (RFC 5798 6.4.3)")
	}
	if i.HigherPrioSendAdvert.Set && i.HigherPrioSendAdvert.V {
		drop(i.HigherPrioSendAdvert.Pos, "higher_prio_send_advert", "who yields says nothing more")
	}
	i.LowerPrioNoAdvert.V, i.HigherPrioSendAdvert.V = true, false
}

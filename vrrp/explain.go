package vrrp

// Explain says what it means that a sender's adverts are refused for this reason, and what to do. otherAddrs says that its
// addresses are not ours, which makes it another cluster rather than a member that is configured differently.
func Explain(r RejectReason, otherAddrs bool) (meaning, remedy string) {
	const both = "each refuses the other's adverts and both are MASTER"
	switch {
	case r == RejectOwnSource:
		return "two hosts send from one address, or somebody forges adverts", "find the port of this MAC on the switch"
	case r == RejectTTL:
		return "adverts come through a router, or somebody forges them", "find out who sends them; a VRID belongs to one network"
	case r == RejectSequence:
		return "adverts are replayed, or a restarted member has not heard the others", "if it goes on, find the port of this MAC on the switch"
	case r == RejectPeer:
		return "a host that is no unicast peer sends us adverts", "add it to unicast_peer on all members, or stop it"
	case r == RejectChecksum:
		return "damaged, or summed another way: version 3 members may differ in the pseudo-header, and keepalived 2.2.7 and FRR 8.4 accept only one form",
			"set v3_checksum_as_v2 (keepalived), checksum-with-ipv4-pseudoheader (FRR) alike on all members"
	case r == RejectDestination:
		return "unicast and multicast members of one VRID do not hear each other", "set unicast_peer on all members or on none"
	case r == RejectAddrList || otherAddrs && (r == RejectAuth || r == RejectAuthType || r == RejectInterval || r == RejectVersion):
		return "two clusters use one VRID on one network, or the members' address lists differ: " + both,
			"give one cluster another virtual_router_id, or make virtual_ipaddress the same on all members"
	case r == RejectAuth, r == RejectAuthType:
		return "members with different authentication: " + both,
			"make the authentication block the same on all members, or give one cluster another virtual_router_id"
	case r == RejectInterval:
		return "version 2 members with different intervals: " + both,
			"make advert_int the same on all members, or give one cluster another virtual_router_id"
	case r == RejectVersion:
		return "members with different VRRP versions: " + both, "make vrrp_version the same on all members"
	}
	return "malformed adverts", "find the port of this MAC on the switch"
}

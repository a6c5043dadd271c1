package host

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"quorate/config"
)

// firewall keeps the packets for and from some addresses out of this host: no_accept. It has a table of its own, which
// nobody else's rules are touched by and which goes with the last address. Every change is one transaction.
type firewall struct {
	known     bool         // what is installed
	installed []netip.Addr // sorted
	how       tableStyle   // of what is installed
	replace   func(tableStyle, []netip.Addr) error
}

// tableStyle is what the configuration says of the table: nftables, nftables_priority and nftables_counters.
type tableStyle struct {
	name     string
	priority int
	counters bool
}

// tableStyleOf never is the zero value.
func tableStyleOf(g config.Global) tableStyle {
	s := tableStyle{name: cmp.Or(g.Nftables.V, firewallTable), priority: firewallPriority, counters: g.NftablesCounters.V}
	if g.NftablesPriority.Set {
		s.priority = g.NftablesPriority.V
	}
	return s
}

const (
	firewallTable = "quorate"
	// firewallPriority is before the usual rules, as keepalived's (2.2.7, measured).
	firewallPriority = -1
	elementBatch     = 512 // of a set, in one message
)

// errNoFirewall says what to do about it.
var errNoFirewall = errors.New("packets for the addresses of a no_accept instance are accepted all the same; does the kernel have nf_tables?")

func (s tableStyle) table() *nftables.Table {
	return &nftables.Table{Name: s.name, Family: nftables.TableFamilyINet}
}

func refusedSets(t *nftables.Table) (v4, v6 *nftables.Set) {
	return &nftables.Set{Table: t, Name: "refused4", KeyType: nftables.TypeIPAddr},
		&nftables.Set{Table: t, Name: "refused6", KeyType: nftables.TypeIP6Addr}
}

// Set makes the list, which is sorted, the addresses that are refused.
func (f *firewall) Set(how tableStyle, list []netip.Addr) error {
	if f.how != how && f.how.name != "" { // the new one comes first: nothing gets through in between
		if err := f.change(how, list); err != nil {
			return err
		}
	}
	f.how = how
	if f.known && slices.Equal(list, f.installed) {
		return nil
	}
	if f.known && len(list) > 0 && len(f.installed) > 0 && f.update(list) == nil {
		f.installed = slices.Clone(list)
		return nil
	}
	f.known = false // whatever fails: the next one starts anew
	if err := f.replace(how, list); err != nil {
		if len(list) == 0 {
			return nil // there is none to delete, or the kernel has no firewall
		}
		return fmt.Errorf("nftables: %w: %w", err, errNoFirewall)
	}
	f.known, f.installed = true, slices.Clone(list)
	return nil
}

// change makes the table anew after a change of its style.
func (f *firewall) change(how tableStyle, list []netip.Addr) error {
	was := f.how
	f.known, f.how = false, tableStyle{}
	if err := f.Set(how, list); err != nil {
		f.how = was
		return err
	}
	if was.name != how.name {
		_ = f.replace(was, nil) // there may be none
	}
	return nil
}

// Gone says whether somebody else removed the table.
func (f *firewall) Gone() bool {
	if !f.known || len(f.installed) == 0 {
		return false
	}
	c, err := nftables.New()
	if err != nil {
		return false
	}
	t, err := c.ListTableOfFamily(f.how.name, nftables.TableFamilyINet)
	if t != nil && err == nil {
		return false
	}
	f.known = false
	return true
}

// update changes what differs.
func (f *firewall) update(list []netip.Addr) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	missing := func(of, in []netip.Addr) []netip.Addr {
		return slices.DeleteFunc(slices.Clone(of), func(a netip.Addr) bool { _, ok := slices.BinarySearchFunc(in, a, netip.Addr.Compare); return ok })
	}
	v4, v6 := refusedSets(f.how.table())
	if err := elements(v4, v6, missing(f.installed, list), c.SetDeleteElements); err != nil {
		return err
	}
	if err := elements(v4, v6, missing(list, f.installed), c.SetAddElements); err != nil {
		return err
	}
	return c.Flush()
}

func elements(v4, v6 *nftables.Set, list []netip.Addr, do func(*nftables.Set, []nftables.SetElement) error) error {
	for _, s := range []*nftables.Set{v4, v6} {
		var all []nftables.SetElement
		for _, a := range list {
			if a.Is4() == (s == v4) {
				all = append(all, nftables.SetElement{Key: a.AsSlice()})
			}
		}
		for part := range slices.Chunk(all, elementBatch) {
			if err := do(s, part); err != nil {
				return err
			}
		}
	}
	return nil
}

// replaceTable puts a new table in the place of whatever is there.
func replaceTable(how tableStyle, list []netip.Addr) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := how.table()
	c.AddTable(t) // or there might be none to delete
	c.DelTable(t)
	if len(list) == 0 {
		return c.Flush()
	}
	c.AddTable(t)
	v4, v6 := refusedSets(t)
	for _, s := range []*nftables.Set{v4, v6} {
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	if err := elements(v4, v6, list, c.SetAddElements); err != nil {
		return err
	}
	priority := nftables.ChainPriority(how.priority)
	for _, ch := range []struct {
		name          string
		hook          *nftables.ChainHook
		offset4, off6 uint32 // of the address in the header: RFC 791 3.1, RFC 8200 3
	}{{"input", nftables.ChainHookInput, 16, 24}, {"output", nftables.ChainHookOutput, 12, 8}} {
		chain := c.AddChain(&nftables.Chain{Table: t, Name: ch.name, Type: nftables.ChainTypeFilter, Hooknum: ch.hook, Priority: &priority})
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: refuse(v4, unix.NFPROTO_IPV4, ch.offset4, 4, how.counters)})
		// Neighbours may ask for the address itself, or who has it would not be known (RFC 4861 7.2.2, 7.3.3).
		for _, kind := range []byte{135, 136} {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: neighbourDiscovery(kind)})
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: refuse(v6, unix.NFPROTO_IPV6, ch.off6, 16, how.counters)})
	}
	return c.Flush()
}

// refuse is "ip daddr @set drop" and the like.
func refuse(set *nftables.Set, family byte, offset, size uint32, count bool) []expr.Any {
	exprs := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
	}
	if count {
		exprs = append(exprs, &expr.Counter{})
	}
	return append(exprs, &expr.Verdict{Kind: expr.VerdictDrop})
}

// neighbourDiscovery is "icmpv6 type KIND accept".
func neighbourDiscovery(kind byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocolICMPv6}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{kind}},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}
}

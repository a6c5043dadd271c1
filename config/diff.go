package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// Change is one difference between two configurations of a director, in terms of what it runs.
type Change struct {
	Op     string `json:"op"`     // add, remove or change
	Kind   string `json:"kind"`   // instance, vip, service, server, check, script, group, global, setting ...
	Object string `json:"object"` // "vrrp_instance VI_1", "virtual_server 10.0.0.1 80, real_server 10.0.0.2 80"
	Field  string `json:"field,omitempty"`
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	Effect string `json:"effect,omitempty"` // what clients may notice; empty: nothing
}

// String is the change as one line.
func (c Change) String() string {
	s := fmt.Sprintf("%-6s %s", c.Op, c.Object)
	if c.Field != "" {
		s += fmt.Sprintf(": %s %s -> %s", c.Field, cmp.Or(c.From, "none"), cmp.Or(c.To, "none"))
	}
	if c.Effect != "" {
		s += "   (" + c.Effect + ")"
	}
	return s
}

// Diff compares what a director runs now with what it would run. Where something is
// written makes no difference, nor does a default that is written out. Secrets are not in
// the result.
func Diff(from, to *Config) []Change {
	d := &differ{owner: map[netip.Addr]string{}}
	for _, i := range to.Instances {
		for _, a := range slices.Concat(i.VIPs, i.ExcludedVIPs) {
			d.owner[a.Prefix.Addr()] = "vrrp_instance " + i.Name
		}
	}
	d.fields("global", "global_defs", reflect.ValueOf(from.Global), reflect.ValueOf(to.Global), nil)
	match(from.Scripts, to.Scripts, func(s *Script) string { return "vrrp_script " + s.Name }, one[Script](d, "script", "", "it does not run any more", "its result counts anew"))
	match(from.SyncGroups, to.SyncGroups, func(g *SyncGroup) string { return "vrrp_sync_group " + g.Name }, one[SyncGroup](d, "group", "its members change state together from now on", "its members change state one by one from now on", ""))
	match(from.TrackFiles, to.TrackFiles, func(f *TrackFile) string { return "track_file " + f.Name }, one[TrackFile](d, "tracker", "", "", ""))
	match(from.TrackProcesses, to.TrackProcesses, func(p *TrackProcess) string { return "vrrp_track_process " + p.Name }, one[TrackProcess](d, "tracker", "", "", ""))
	match(from.BFDs, to.BFDs, func(b *BFD) string { return "bfd_instance " + b.Name }, one[BFD](d, "tracker", "", "", "the session starts anew"))
	match(from.TrackGroups, to.TrackGroups, func(g *TrackGroup) string { return "track_group " + g.Name }, one[TrackGroup](d, "group", "", "", ""))
	match(from.Instances, to.Instances, func(i *Instance) string { return "vrrp_instance " + i.Name }, d.instance)
	match(from.ServerGroups, to.ServerGroups, func(g *ServerGroup) string { return "virtual_server_group " + g.Name }, one[ServerGroup](d, "group", "", "", "services are added and removed"))
	match(from.VirtualServers, to.VirtualServers, serviceName, d.service)
	d.fields("static", "static addresses, routes and rules", reflect.ValueOf(static(from)), reflect.ValueOf(static(to)), nil)
	return append(d.list, settings(from, to)...)
}

type statics struct {
	StaticIpaddress []Address
	StaticRoutes    []Route
	StaticRules     []Rule
}

func static(c *Config) statics { return statics{c.StaticAddresses, c.StaticRoutes, c.StaticRules} }

func serviceName(v *VirtualServer) string {
	name := "virtual_server " + v.String()
	switch {
	case v.FWMark.Set && v.IPFamily.Set:
		return name + " " + v.IPFamily.V // the same mark may stand for both families
	case v.FWMark.Set:
		return name
	}
	return name + " " + v.Protocol.V
}

// match pairs objects by name, removed ones first, each in the order of its file.
func match[T any](from, to []*T, name func(*T) string, f func(name string, from, to *T)) {
	old, now := map[string]*T{}, map[string]*T{}
	for _, x := range to {
		now[name(x)] = x
	}
	for _, x := range from {
		old[name(x)] = x
		if now[name(x)] == nil {
			f(name(x), x, nil)
		}
	}
	for _, x := range to {
		f(name(x), old[name(x)], x)
	}
}

type differ struct {
	list  []Change
	owner map[netip.Addr]string // of each virtual IP afterwards
}

// gone says what becomes of an address that an instance loses.
func (d *differ) gone(a netip.Addr) string {
	if o := d.owner[a]; o != "" {
		return "it moves to " + o + " and may be without owner until the election there is over"
	}
	return "nobody answers for it any more"
}

func (d *differ) add(c Change) { d.list = append(d.list, c) }

// one compares objects of which only the fields are of interest.
func one[T any](d *differ, kind, added, removed, changed string) func(string, *T, *T) {
	return func(name string, from, to *T) {
		switch {
		case from == nil:
			d.add(Change{Op: "add", Kind: kind, Object: name, Effect: added})
		case to == nil:
			d.add(Change{Op: "remove", Kind: kind, Object: name, Effect: removed})
		default:
			d.fields(kind, name, reflect.ValueOf(*from), reflect.ValueOf(*to), func(string) string { return changed })
		}
	}
}

// fields compares two structs field by field. skip and what has a comparison of its own is left out.
func (d *differ) fields(kind, object string, from, to reflect.Value, effect func(field string) string, skip ...string) {
	t := from.Type()
	for i := range t.NumField() {
		name := t.Field(i).Name
		if name == "Pos" || name == "Name" || slices.Contains(skip, name) {
			continue
		}
		a, b := show(from.Field(i)), show(to.Field(i))
		if a == b {
			continue
		}
		c := Change{Op: "change", Kind: kind, Object: object, Field: keywordOf(name), From: a, To: b}
		if name == "AuthPass" || name == "SMTPPassword" {
			c.From, c.To = masked, masked
		}
		if effect != nil {
			c.Effect = effect(name)
		}
		d.add(c)
	}
}

// fieldKeywords are the fields whose keyword is not their name in another notation.
var fieldKeywords = map[string]string{
	"SMTPUser": "smtp_auth", "SMTPPassword": "smtp_auth", "VRID": "virtual_router_id", "LBAlgo": "lb_algo", "LBKind": "lb_kind", "Persistence": "persistence_timeout",
	"VIPs": "virtual_ipaddress", "ExcludedVIPs": "virtual_ipaddress_excluded", "TrackScripts": "track_script",
	"TrackIfaces": "track_interface", "WeightedIfaces": "track_interface", "TrackFiles": "track_file", "TrackProcesses": "track_process",
	"TrackBFDs": "track_bfd", "UnicastPeers": "unicast_peer", "NoPreempt": "nopreempt", "Notify": "notify", "SMTPAlert": "smtp_alert",
	"Strict": "strict_mode", "ConnectIP": "connect_ip", "BindTo": "bindto", "Members": "group", "Command": "script",
}

// keywordOf turns a field name into the keyword it was read from: AdvertInt is advert_int.
func keywordOf(field string) string {
	if kw := fieldKeywords[field]; kw != "" {
		return kw
	}
	var b strings.Builder
	for i := range len(field) {
		c := field[i]
		upper := c >= 'A' && c <= 'Z'
		if upper && i > 0 && (field[i-1] < 'A' || field[i-1] > 'Z' || (i+1 < len(field) && field[i+1] >= 'a')) {
			b.WriteByte('_')
		}
		if upper {
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// show is a value as text, without positions, so that two values are the same exactly when
// their texts are.
func show(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case Pos:
		return ""
	case Address:
		out := x.Prefix.String()
		for _, o := range [][2]string{{" dev ", x.Dev}, {" label ", x.Label}, {" scope ", x.Scope}, {" brd ", x.Broadcast}, {" ", x.Options}} {
			if o[1] != "" {
				out += o[0] + o[1]
			}
		}
		if x.NoTrack {
			out += " no_track"
		}
		if x.UseVMAC {
			out += " use_vmac"
		}
		return out
	case Route:
		return x.Text
	case Rule:
		return x.Text
	case Command:
		return strings.TrimSpace(strings.Join(x.Argv, " ") + " " + x.User + " " + x.Group)
	case fmt.Stringer:
		return x.String()
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return show(v.Elem())
	case reflect.Slice, reflect.Array:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, show(v.Index(i)))
		}
		return strings.Join(parts, ", ")
	case reflect.Struct:
		if val := v.FieldByName("V"); val.IsValid() {
			return show(val)
		}
		var parts []string
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Pos" && v.Type().Field(i).IsExported() {
				if s := show(v.Field(i)); s != "" && s != "false" && s != "0" {
					parts = append(parts, keywordOf(name)+" "+s)
				}
			}
		}
		return strings.Join(parts, " ")
	}
	return fmt.Sprint(v.Interface())
}

// restarts are the fields that make another virtual router of an instance.
var restarts = []string{"VRID", "Interface", "Version", "AuthType", "AuthPass", "UnicastPeers", "UnicastSrcIP", "McastSrcIP", "McastDstIP", "UseVMAC", "Family"}

func (d *differ) instance(name string, from, to *Instance) {
	switch {
	case from == nil:
		d.add(Change{Op: "add", Kind: "instance", Object: name, To: show(reflect.ValueOf(to.VIPs)), Effect: "an election begins; " + show(reflect.ValueOf(to.VIPs)) + " appears on its winner"})
		return
	case to == nil:
		d.add(Change{Op: "remove", Kind: "instance", Object: name})
		for _, a := range slices.Concat(from.VIPs, from.ExcludedVIPs) {
			d.add(Change{Op: "remove", Kind: "vip", Object: name + ", " + a.Prefix.Addr().String(), Effect: d.gone(a.Prefix.Addr())})
		}
		return
	}
	d.fields("instance", name, reflect.ValueOf(*from), reflect.ValueOf(*to), func(field string) string {
		switch {
		case slices.Contains(restarts, field):
			return "the election begins anew: the addresses may have no owner for about " + secs(3*to.AdvertInt.V) + " s"
		case field == "Priority":
			if from.NoPreempt.V && to.NoPreempt.V {
				return "decides the next election; nopreempt keeps the owner"
			}
			return "the addresses may move to another director"
		case field == "AdvertInt":
			if to.Version.V == 2 {
				return "routers with different intervals do not believe each other (version 2): change all of them at once"
			}
			return ""
		}
		return ""
	}, "VIPs", "ExcludedVIPs")
	old, now := append(slices.Clone(from.VIPs), from.ExcludedVIPs...), append(slices.Clone(to.VIPs), to.ExcludedVIPs...)
	find := func(list []Address, a netip.Addr) *Address {
		for i := range list {
			if list[i].Prefix.Addr() == a {
				return &list[i]
			}
		}
		return nil
	}
	for _, a := range old {
		object := name + ", " + a.Prefix.Addr().String()
		b := find(now, a.Prefix.Addr())
		switch {
		case b == nil:
			d.add(Change{Op: "remove", Kind: "vip", Object: object, Effect: d.gone(a.Prefix.Addr())})
		case show(reflect.ValueOf(a)) != show(reflect.ValueOf(*b)):
			d.add(Change{Op: "change", Kind: "vip", Object: object, From: show(reflect.ValueOf(a)), To: show(reflect.ValueOf(*b)), Field: "virtual_ipaddress", Effect: "it is removed and added again on its owner"})
		}
	}
	for _, a := range now {
		if find(old, a.Prefix.Addr()) == nil {
			d.add(Change{Op: "add", Kind: "vip", Object: name + ", " + a.Prefix.Addr().String(), To: show(reflect.ValueOf(a))})
		}
	}
}

func (d *differ) service(name string, from, to *VirtualServer) {
	switch {
	case from == nil:
		d.add(Change{Op: "add", Kind: "service", Object: name, To: fmt.Sprintf("%d real servers", len(to.RealServers))})
		return
	case to == nil:
		d.add(Change{Op: "remove", Kind: "service", Object: name, Effect: "its connections break"})
		return
	}
	d.fields("service", name, reflect.ValueOf(*from), reflect.ValueOf(*to), func(field string) string {
		switch field {
		case "LBKind", "Tunnel":
			return "new connections are forwarded the other way; the real servers must be set up for it"
		case "LBAlgo", "Persistence", "PersistenceGranularity", "SchedFlags":
			return "changed in place, connections go on"
		}
		return ""
	}, "RealServers", "Addr", "Port")
	match(from.RealServers, to.RealServers, func(r *RealServer) string { return name + ", real_server " + r.String() }, d.server)
}

func (d *differ) server(name string, from, to *RealServer) {
	switch {
	case from == nil:
		d.add(Change{Op: "add", Kind: "server", Object: name, To: fmt.Sprintf("weight %d", to.Weight.V)})
		return
	case to == nil:
		d.add(Change{Op: "remove", Kind: "server", Object: name, Effect: "its connections break"})
		return
	}
	d.fields("server", name, reflect.ValueOf(*from), reflect.ValueOf(*to), func(field string) string {
		if field == "Weight" {
			if to.Weight.V == 0 {
				return "it gets no new connections"
			}
			return "changed in place, connections go on"
		}
		return ""
	}, "Checks", "Addr", "Port", "ConnectTimeout", "Retry", "DelayBeforeRetry", "DelayLoop", "Warmup", "Alpha", "VirtualHost")
	for i := range max(len(from.Checks), len(to.Checks)) {
		switch {
		case i >= len(from.Checks):
			d.add(Change{Op: "add", Kind: "check", Object: name + ", " + to.Checks[i].Kind})
		case i >= len(to.Checks):
			d.add(Change{Op: "remove", Kind: "check", Object: name + ", " + from.Checks[i].Kind})
		default:
			d.fields("check", name+", "+to.Checks[i].Kind, reflect.ValueOf(*from.Checks[i]), reflect.ValueOf(*to.Checks[i]), func(string) string { return "the check starts anew" })
		}
	}
}

// settings compares what has no field of its own, as lines.
func settings(from, to *Config) (out []Change) {
	lines := func(list []Setting) []string {
		var l []string
		var walk func(prefix string, list []Setting)
		walk = func(prefix string, list []Setting) {
			for _, s := range list {
				text := strings.TrimSpace(s.Keyword + " " + strings.Join(s.Values, " "))
				if isSecret(s.Block, s.Keyword) > 0 {
					text = s.Keyword + " " + masked
				}
				if s.Owner != "" && prefix == "" && s.Block != "" {
					text = strings.SplitN(s.Block, ".", 2)[0] + " " + s.Owner + ", " + text
				}
				l = append(l, prefix+text)
				walk(prefix+text+", ", s.Items)
			}
		}
		walk("", list)
		return l
	}
	a, b := lines(from.Settings), lines(to.Settings)
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, Change{Op: "remove", Kind: "setting", Object: x})
		}
	}
	for _, x := range b {
		if !slices.Contains(a, x) {
			out = append(out, Change{Op: "add", Kind: "setting", Object: x})
		}
	}
	return out
}

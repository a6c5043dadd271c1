package ipvs

// Plan returns the operations that turn the actual table into the desired one, in the order to carry them out.
//
// Services that are in desired or in managed are Plan's to change; a managed one that is not desired is deleted. Every
// other service in actual is another program's and is left alone. Destinations of a desired service are all Plan's.
//
// The order keeps traffic flowing at every step: a new service gets its destinations at once; new destinations come
// before old ones go; weights rise before others fall, so that two servers may swap without a moment when neither takes
// connections; whole services are deleted at the end. A changed scheduler, persistence or weight is an edit in place,
// which keeps the connections.
//
// As ipvsadm and keepalived do, Plan takes the port of a destination that is not NAT from its service, since direct
// routing and tunnels deliver packets unchanged. If desired names a service or destination twice, the first counts;
// Validate reports that.
func Plan(desired, actual Table, managed []Key) []Op {
	return plan(index(desired, true), index(actual, false), managed)
}

func plan(want, have indexed, managed []Key) []Op {
	var ops, removals []Op
	for _, w := range want.list {
		h, ok := have.get(w.Service.Key)
		switch {
		case !ok:
			ops = append(ops, Op{Kind: AddService, Service: w.Service})
		case h.Service != w.Service:
			ops = append(ops, Op{Kind: EditService, Service: w.Service})
		}
		change, remove := planDestinations(w, h)
		ops = append(ops, change...)
		removals = append(removals, remove...)
	}
	ops = append(ops, removals...)
	ours := make(map[Key]bool, len(managed))
	for _, k := range managed {
		ours[k.normal()] = true
	}
	for _, h := range have.list {
		if _, wanted := want.get(h.Service.Key); !wanted && ours[h.Service.Key] {
			ops = append(ops, Op{Kind: DeleteService, Service: Service{Key: h.Service.Key}})
		}
	}
	return ops
}

// planDestinations returns additions and edits, and apart from them the removals, which come later.
func planDestinations(want, have Entry) (change, remove []Op) {
	service := Service{Key: want.Service.Key}
	var lower []Op
	i := 0
	for _, w := range want.Destinations {
		for i < len(have.Destinations) && have.Destinations[i].AddrPort().Compare(w.AddrPort()) < 0 {
			remove = append(remove, deletion(service, have.Destinations[i]))
			i++
		}
		if i == len(have.Destinations) || have.Destinations[i].AddrPort() != w.AddrPort() {
			change = append(change, Op{Kind: AddDestination, Service: service, Destination: w})
			continue
		}
		h := have.Destinations[i]
		i++
		edit := Op{Kind: EditDestination, Service: service, Destination: w}
		switch {
		case h == w:
		case w.Weight < h.Weight:
			lower = append(lower, edit)
		default:
			change = append(change, edit)
		}
	}
	for _, h := range have.Destinations[i:] {
		remove = append(remove, deletion(service, h))
	}
	return append(change, lower...), remove
}

func deletion(s Service, d Destination) Op {
	return Op{Kind: DeleteDestination, Service: s, Destination: Destination{Addr: d.Addr, Port: d.Port}}
}

// indexed is a table in normal form, sorted and without duplicates.
type indexed struct {
	list  Table
	index map[Key]int
}

func (x indexed) get(k Key) (Entry, bool) {
	i, ok := x.index[k]
	if !ok {
		return Entry{}, false
	}
	return x.list[i], true
}

// index brings a table into normal form. For a wanted table it also corrects the ports.
func index(t Table, wanted bool) indexed {
	t = t.Clone()
	for i := range t {
		s := t[i].Service.normal()
		t[i].Service = s
		for j, d := range t[i].Destinations {
			d = d.settings()
			if wanted && d.Forward != NAT {
				d.Port = s.Port
			}
			t[i].Destinations[j] = d
		}
	}
	t.Sort()
	x := indexed{index: make(map[Key]int, len(t))}
	for _, e := range t {
		if _, twice := x.index[e.Service.Key]; twice {
			continue
		}
		e.Destinations = dedup(e.Destinations)
		x.index[e.Service.Key] = len(x.list)
		x.list = append(x.list, e)
	}
	return x
}

func dedup(list []Destination) []Destination {
	out := list[:0]
	for _, d := range list {
		if len(out) == 0 || out[len(out)-1].AddrPort() != d.AddrPort() {
			out = append(out, d)
		}
	}
	return out
}

package api

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"quorate/node"
)

// claim is one director's state of one instance.
type claim struct {
	node string
	in   node.InstanceStatus
	live bool // the vrrp worker that said so is alive
}

func (s *Status) mergeVIPs(reports []NodeReport) {
	var names []string // instances in the order of the first director that has them
	claims := map[string][]claim{}
	silent := 0
	for _, r := range reports {
		if r.Status == nil {
			silent++
			continue
		}
		live := slices.ContainsFunc(r.Status.Workers, func(w WorkerStatus) bool { return w.Worker == "vrrp" && w.Alive })
		for _, in := range r.Status.Instances {
			if claims[in.Name] == nil {
				names = append(names, in.Name)
			}
			claims[in.Name] = append(claims[in.Name], claim{r.Member.Name, in, live})
		}
	}
	for _, name := range names {
		line := vipLine(name, claims[name], reports)
		s.judgeOwner(line, claims[name], silent)
		var vips []string
		for _, c := range claims[name] {
			for _, v := range c.in.VIPs {
				if !slices.Contains(vips, v) {
					vips = append(vips, v)
				}
			}
		}
		for _, v := range vips {
			line.VIP = v
			s.VIPs = append(s.VIPs, line)
		}
	}
}

// vipLine finds the owner of an instance and who would be next.
func vipLine(name string, cs []claim, reports []NodeReport) VIPLine {
	l := VIPLine{Instance: name, VRID: cs[0].in.VRID, Owners: []string{}, Next: []Candidate{}}
	for _, c := range cs {
		switch {
		case c.in.State == "MASTER" && c.live:
			l.Owners = append(l.Owners, c.node)
			l.Owner, l.Since, l.Reason, l.Detail = c.node, c.in.Since, c.in.Reason, c.in.Detail
		default:
			state := c.in.State
			if !c.live {
				state = "SILENT"
			}
			l.Next = append(l.Next, Candidate{Node: c.node, State: state, Priority: c.in.Priority})
			if c.live && c.in.State == "BACKUP" && c.in.Master.IsValid() {
				l.Heard = c.in.Master.String()
			}
		}
	}
	slices.SortStableFunc(l.Next, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b2i(a.State != "BACKUP"), b2i(b.State != "BACKUP")), cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Node, b.Node))
	})
	if len(l.Owners) != 1 {
		l.Owner, l.Since, l.Reason, l.Detail = "", time.Time{}, "", ""
	}
	if len(l.Owners) > 0 {
		l.Heard = ""
	} else if l.Heard != "" {
		// A member that lives at the address heard is the owner, unless it says itself that it is not.
		for _, r := range reports {
			denies := slices.ContainsFunc(cs, func(c claim) bool { return c.node == r.Member.Name && c.live })
			if h, _, err := net.SplitHostPort(r.Member.Address); err == nil && h == l.Heard && !denies {
				l.Owner = r.Member.Name
			}
		}
	}
	return l
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *Status) judgeOwner(l VIPLine, cs []claim, silent int) {
	switch {
	case len(l.Owners) > 1:
		s.note(Critical, l.Instance, fmt.Sprintf("%s: TWO OWNERS %s; the consensus path between them works, so the adverts are lost on the way",
			l.Instance, strings.Join(l.Owners, " + ")),
			"check firewalls (IP protocol 112, 224.0.0.18), IGMP snooping and VLANs between them; auth_pass and virtual_router_id must agree")
	case len(l.Owners) == 1:
	case l.Heard != "" && l.Owner != "":
		s.note(Degraded, l.Instance, fmt.Sprintf("%s: owned by %s, whose adverts are heard but which does not say so itself", l.Instance, l.Owner), "on "+l.Owner+": systemctl status clusterd")
	case l.Heard != "":
		s.note(Degraded, l.Instance, fmt.Sprintf("%s: owned by %s, which is no member that says so", l.Instance, l.Heard), "a keepalived in the group is fine and a change of owner takes a moment; else look for a stranger with VRID "+fmt.Sprint(l.VRID))
	case silent > 0:
		s.note(Critical, l.Instance, fmt.Sprintf("%s: NO OWNER among the members that answer", l.Instance), "look at the nodes that do not answer")
	default:
		s.note(Critical, l.Instance, fmt.Sprintf("%s: NO OWNER", l.Instance), "an election takes a few seconds; else see the faults below")
	}
	for _, c := range cs {
		if c.in.State == "FAULT" {
			s.note(Degraded, l.Instance, fmt.Sprintf("%s: %s cannot become owner: %s", l.Instance, c.node, cmp.Or(c.in.Detail, c.in.Reason)), "")
		}
	}
}

func (s *Status) mergeServices(reports []NodeReport) {
	owner := map[netip.Addr]string{}
	for _, v := range s.VIPs {
		if a, ok := vipAddr(v.VIP); ok && v.Owner != "" {
			owner[a] = v.Owner
		}
	}
	index := map[string]int{}
	for _, r := range reports {
		if r.Status == nil {
			continue
		}
		for _, sv := range r.Status.Services {
			line := ServiceStatus{ServiceStatus: sv, On: r.Member.Name, Total: len(sv.Servers)}
			for _, rs := range sv.Servers {
				if rs.Up {
					line.Up++
				}
			}
			i, seen := index[sv.Service]
			switch {
			case !seen:
				index[sv.Service] = len(s.Services)
				s.Services = append(s.Services, line)
			case ownerOf(owner, sv.Service) == r.Member.Name:
				s.Services[i] = line
			}
		}
	}
	for _, sv := range s.Services {
		if sv.Up == 0 && sv.Total > 0 {
			s.note(Critical, sv.Service, fmt.Sprintf("%s: no real server is up", sv.Service), "")
		}
		for _, rs := range sv.Servers {
			if !rs.Up {
				s.note(Degraded, sv.Service, fmt.Sprintf("%s: %s down: %s", sv.Service, rs.Server, cmp.Or(rs.Detail, "check failed")), "")
			}
		}
	}
}

// vipAddr takes the address out of "192.168.2.240/24 dev eth0".
func vipAddr(vip string) (netip.Addr, bool) {
	word, _, _ := strings.Cut(vip, " ")
	word, _, _ = strings.Cut(word, "/")
	a, err := netip.ParseAddr(word)
	return a, err == nil
}

// ownerOf takes the address out of "tcp 192.168.2.240:80".
func ownerOf(owner map[netip.Addr]string, service string) string {
	_, ap, _ := strings.Cut(service, " ")
	if a, err := netip.ParseAddrPort(ap); err == nil {
		return owner[a.Addr()]
	}
	return ""
}

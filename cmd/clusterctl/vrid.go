package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quorate/api"
	"quorate/internal/console"
	"quorate/node"
)

// vridLine is one user of a virtual router id on one segment, as one director hears or runs it.
type vridLine struct {
	VRID      int      `json:"vrid"`
	Family    string   `json:"family"`
	Node      string   `json:"node"` // who says so
	Interface string   `json:"interface"`
	Who       string   `json:"who"` // ours or foreign
	Address   string   `json:"address,omitempty"`
	MAC       string   `json:"mac,omitempty"`
	Priority  int      `json:"priority"`
	VIPs      []string `json:"vips"`
	Note      string   `json:"note,omitempty"`
}

// vridList is what clusterctl vrid list -o json prints.
type vridList struct {
	VRIDs []vridLine `json:"vrids"`
	Free  []int      `json:"free"` // not heard and not run anywhere, the lowest ten
}

func (c *cli) vridCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "vrid", Short: "virtual router ids: who uses which, and which are free", Args: console.NoArgs}
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "every virtual_router_id that the directors run or hear, and free ones", Args: console.NoArgs,
		Long: "list asks every director which VRRP adverts arrive on its interfaces, also those of routers that have nothing to do with\n" +
			"this cluster, and proposes ids that nobody uses. A sender that is silent for five minutes is forgotten.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cl, done := c.client(cmd.Context(), 10*time.Second)
			defer done()
			st, err := cl.Status(ctx)
			if err != nil {
				return err
			}
			l := listVRIDs(st)
			return c.Print(l, func(w io.Writer) { showVRIDs(w, l) })
		},
	})
	return cmd
}

func listVRIDs(st *api.Status) vridList {
	l := vridList{VRIDs: []vridLine{}}
	used := map[int]bool{}
	for _, n := range st.Nodes {
		for _, in := range n.Instances {
			used[in.VRID] = true
			family := "ipv4"
			if len(in.VIPs) > 0 && strings.Contains(in.VIPs[0], ":") {
				family = "ipv6"
			}
			l.VRIDs = append(l.VRIDs, vridLine{VRID: in.VRID, Family: family, Node: n.Name, Interface: in.Interface, Who: "ours",
				Priority: in.Priority, VIPs: in.VIPs, Note: in.Name + " " + in.State})
		}
		for _, h := range n.Heard {
			used[h.VRID] = true
			if ours(st, h) {
				continue
			}
			x := vridLine{VRID: h.VRID, Family: h.Family, Node: n.Name, Interface: h.Interface, Who: "foreign", Address: h.Address.String(), MAC: h.MAC,
				Priority: h.Priority, VIPs: h.VIPs}
			switch {
			case h.Rejected != "":
				x.Note = "CONFLICT with ours: its adverts are refused (" + h.Rejected + ")"
			case h.Ours:
				x.Note = "takes part in ours"
			}
			l.VRIDs = append(l.VRIDs, x)
		}
	}
	slices.SortStableFunc(l.VRIDs, func(a, b vridLine) int {
		return cmp.Or(cmp.Compare(a.VRID, b.VRID), cmp.Compare(a.Family, b.Family), -cmp.Compare(a.Who, b.Who), cmp.Compare(a.Node, b.Node))
	})
	l.Free = node.FreeVRIDs(used, 10)
	return l
}

// ours says whether a director that answers is the sender: it is MASTER of that instance, or its address says so.
func ours(st *api.Status, h node.HeardRouter) bool {
	for _, n := range st.Nodes {
		if at, err := netip.ParseAddrPort(n.Address); err == nil && at.Addr().Unmap() == h.Address {
			return true
		}
		for _, in := range n.Instances {
			if in.VRID == h.VRID && in.State == "MASTER" && in.Master == h.Address {
				return true
			}
		}
	}
	return false
}

func showVRIDs(w io.Writer, l vridList) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	console.Say(tw, "VRID\tFAMILY\tWHO\tSEEN BY\tADDRESS\tMAC\tPRIORITY\tADDRESSES\tNOTE\n")
	for _, x := range l.VRIDs {
		vips := strings.Join(x.VIPs, " ")
		if len(x.VIPs) > 3 {
			vips = fmt.Sprintf("%s and %d more", strings.Join(x.VIPs[:3], " "), len(x.VIPs)-3)
		}
		console.Say(tw, "%d\t%s\t%s\t%s:%s\t%s\t%s\t%d\t%s\t%s\n", x.VRID, x.Family, x.Who, x.Node, x.Interface, cmp.Or(x.Address, "-"), cmp.Or(x.MAC, "-"), x.Priority,
			cmp.Or(vips, "-"), console.Clean(x.Note))
	}
	_ = tw.Flush()
	console.Say(w, "\nfree, as far as heard: %s\n", strings.Trim(fmt.Sprint(l.Free), "[]"))
}

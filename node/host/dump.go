package host

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"quorate/config"
	"quorate/node"
	"quorate/vrrp"
)

// Dump says which of keepalived's files is wanted: SIGUSR1, SIGUSR2 and SIGRTMIN+2 ask for them.
type Dump uint8

// The zero Dump is invalid.
const (
	_         Dump = iota
	DumpData       // keepalived.data: what runs, for people
	DumpStats      // keepalived.stats: counters
	DumpJSON       // keepalived.json: both, in the schema of keepalived 2.2.7; passwords are masked
)

// String is the name of the file.
func (d Dump) String() string {
	switch d {
	case DumpData:
		return "keepalived.data"
	case DumpStats:
		return "keepalived.stats"
	case DumpJSON:
		return "keepalived.json"
	}
	return fmt.Sprintf("Dump(%d)", uint8(d))
}

// instanceJSON has the keys of keepalived 2.2.7 in its order (measured).
type instanceJSON struct {
	Data  dataJSON  `json:"data"`
	Stats statsJSON `json:"stats"`
}

type dataJSON struct {
	Name               string   `json:"iname"`
	DontTrackPrimary   int      `json:"dont_track_primary"`
	SkipCheckAdvAddr   int      `json:"skip_check_adv_addr"`
	StrictMode         int      `json:"strict_mode"`
	VMAC               string   `json:"vmac_ifname"`
	Interface          string   `json:"ifp_ifname"`
	MasterPriority     int      `json:"master_priority"`
	LastTransition     float64  `json:"last_transition"`
	GARPDelay          float64  `json:"garp_delay"`
	GARPRefresh        float64  `json:"garp_refresh"`
	GARPRepeat         int      `json:"garp_rep"`
	GARPRefreshRepeat  int      `json:"garp_refresh_rep"`
	GARPLowerDelay     float64  `json:"garp_lower_prio_delay"`
	GARPLowerRepeat    int      `json:"garp_lower_prio_rep"`
	LowerPrioNoAdvert  int      `json:"lower_prio_no_advert"`
	HigherPrioSend     int      `json:"higher_prio_send_advert"`
	VRID               int      `json:"vrid"`
	BasePriority       int      `json:"base_priority"`
	EffectivePriority  int      `json:"effective_priority"`
	VIPSet             bool     `json:"vipset"`
	PromoteSecondaries bool     `json:"promote_secondaries"`
	AdverInt           float64  `json:"adver_int"`
	MasterAdverInt     float64  `json:"master_adver_int"`
	Accept             int      `json:"accept"`
	NoPreempt          bool     `json:"nopreempt"`
	PreemptDelay       float64  `json:"preempt_delay"`
	State              int      `json:"state"`
	WantState          int      `json:"wantstate"`
	Version            int      `json:"version"`
	SMTPAlert          bool     `json:"smtp_alert"`
	NotifyDeleted      bool     `json:"notify_deleted"`
	ScriptMaster       string   `json:"script_master,omitempty"`
	ScriptBackup       string   `json:"script_backup,omitempty"`
	ScriptFault        string   `json:"script_fault,omitempty"`
	ScriptStop         string   `json:"script_stop,omitempty"`
	Script             string   `json:"script,omitempty"`
	VIPs               []string `json:"vips,omitempty"`
	EVIPs              []string `json:"evips,omitempty"`
	VRoutes            []string `json:"vroutes,omitempty"`
	VRules             []string `json:"vrules,omitempty"`
	TrackIfaces        []string `json:"track_ifp,omitempty"`
	TrackScripts       []string `json:"track_script,omitempty"`
	AuthType           int      `json:"auth_type,omitempty"`
	AuthData           string   `json:"auth_data,omitempty"`
}

type statsJSON struct {
	Received      uint64 `json:"advert_rcvd"`
	Sent          uint64 `json:"advert_sent"`
	BecomeMaster  uint64 `json:"become_master"`
	ReleaseMaster uint64 `json:"release_master"`
	Length        uint64 `json:"packet_len_err"`
	Interval      uint64 `json:"advert_interval_err"`
	TTL           uint64 `json:"ip_ttl_err"`
	Type          uint64 `json:"invalid_type_rcvd"`
	AddrList      uint64 `json:"addr_list_err"`
	AuthType      uint64 `json:"invalid_authtype"`
	AuthMismatch  uint64 `json:"authtype_mismatch"`
	AuthFailure   uint64 `json:"auth_failure"`
	ZeroReceived  uint64 `json:"pri_zero_rcvd"`
	ZeroSent      uint64 `json:"pri_zero_sent"`
}

// stateNumber is keepalived's: 0 init, 1 backup, 2 master, 3 fault.
func stateNumber(s string) int {
	return max(slices.Index([]string{"INIT", "BACKUP", "MASTER", "FAULT"}, s), 0)
}

func statsOf(c vrrp.Counters) statsJSON {
	return statsJSON{Received: c.AdvertsReceived, Sent: c.AdvertsSent, BecomeMaster: c.BecameMaster, ReleaseMaster: c.ReleasedMaster,
		Length: c.Rejected[vrrp.RejectShort], Interval: c.Rejected[vrrp.RejectInterval], TTL: c.Rejected[vrrp.RejectTTL], Type: c.Rejected[vrrp.RejectType],
		AddrList: c.Rejected[vrrp.RejectAddrList], AuthMismatch: c.Rejected[vrrp.RejectAuthType], AuthFailure: c.Rejected[vrrp.RejectAuth],
		ZeroReceived: c.PriorityZeroReceived, ZeroSent: c.PriorityZeroSent}
}

func dataOf(d node.Detail) dataJSON {
	c, bit := d.Config, map[bool]int{true: 1}
	o := dataJSON{
		Name: c.Name, DontTrackPrimary: bit[c.DontTrackPrimary.V], SkipCheckAdvAddr: bit[c.SkipCheckAdvAddr.V], StrictMode: bit[c.Strict.V],
		Interface: c.Interface.V, LastTransition: float64(wall(d.Changed).UnixMicro()) / 1e6,
		GARPDelay: c.GARPMasterDelay.V.Seconds(), GARPRefresh: c.GARPMasterRefresh.V.Seconds(), GARPRepeat: c.GARPMasterRepeat.V,
		GARPRefreshRepeat: c.GARPMasterRefreshRepeat.V, GARPLowerDelay: c.GARPLowerPrioDelay.V.Seconds(), GARPLowerRepeat: c.GARPLowerPrioRepeat.V,
		LowerPrioNoAdvert: bit[c.LowerPrioNoAdvert.V], HigherPrioSend: bit[c.HigherPrioSendAdvert.V],
		VRID: c.VRID.V, BasePriority: c.Priority.V, EffectivePriority: d.Status.Priority, VIPSet: len(d.Held) > 0, PromoteSecondaries: c.PromoteSecondaries.V,
		AdverInt: c.AdvertInt.V.Seconds(), MasterAdverInt: d.MasterInterval.Seconds(), MasterPriority: int(d.MasterPriority), Accept: bit[c.Accept.V], NoPreempt: c.NoPreempt.V,
		PreemptDelay: c.PreemptDelay.V.Seconds(), State: stateNumber(d.Status.State), WantState: stateNumber(d.Status.State), Version: c.Version.V,
		SMTPAlert: c.SMTPAlert.V, NotifyDeleted: c.NotifyDeleted != nil,
		ScriptMaster: quoted(c.NotifyMaster), ScriptBackup: quoted(c.NotifyBackup), ScriptFault: quoted(c.NotifyFault), ScriptStop: quoted(c.NotifyStop), Script: quoted(c.Notify),
		VIPs: addressLines(d, c.VIPs, 0), EVIPs: addressLines(d, c.ExcludedVIPs, len(c.VIPs)),
		VRoutes: routeLines(c.VirtualRoutes), VRules: ruleLines(c.VirtualRules), VMAC: d.VMAC,
	}
	if d.VMAC != "" && !c.VMACXmitBase.V {
		o.Interface = d.VMAC
	}
	for _, t := range c.TrackIfaces {
		o.TrackIfaces = append(o.TrackIfaces, t.V)
	}
	for _, t := range c.TrackScripts {
		o.TrackScripts = append(o.TrackScripts, t.Name)
	}
	if o.AuthType = slices.Index([]string{"", "PASS", "AH"}, c.AuthType.V); o.AuthType > 0 {
		o.AuthData = "********" // keepalived 2.2.7 prints the password into a file that everybody may read
	}
	return o
}

func quoted(c *config.Command) string {
	if c == nil {
		return ""
	}
	return "'" + strings.Join(c.Argv, "' '") + "'"
}

// addressLines are in the words of ip-address(8), as keepalived prints them.
func addressLines(d node.Detail, list []config.Address, first int) []string {
	var out []string
	for k, a := range list {
		dev, scope := d.Devs[first+k], a.Scope
		if scope == "" {
			scope = "global"
		}
		line := a.Prefix.String()
		if a.Prefix.IsSingleIP() {
			line = a.Prefix.Addr().String()
		}
		line += " dev " + dev + " scope " + scope
		if a.Label != "" {
			line += " label " + a.Label
		}
		if slices.ContainsFunc(d.Held, func(h config.Address) bool { return h.Prefix == a.Prefix }) {
			line += " set"
		}
		out = append(out, line)
	}
	return out
}

// render makes the text of a dump.
func (k Dump) render(list []node.Detail, heard []node.HeardRouter) ([]byte, error) {
	switch k {
	case DumpJSON:
		out := make([]instanceJSON, 0, len(list))
		for _, d := range list {
			out = append(out, instanceJSON{dataOf(d), statsOf(d.Counters)})
		}
		return json.Marshal(out)
	case DumpStats:
		var b strings.Builder
		for _, d := range list {
			writeStats(&b, d.Status.Name, statsOf(d.Counters))
		}
		return []byte(b.String()), nil
	}
	var b strings.Builder
	b.WriteString("------< VRRP Topology >------\n")
	for _, d := range list {
		writeData(&b, d)
	}
	writeHeard(&b, list, heard)
	return []byte(b.String()), nil
}

func writeStats(b *strings.Builder, name string, s statsJSON) {
	fmt.Fprintf(b, "VRRP Instance: %s\n  Advertisements:\n    Received: %d\n    Sent: %d\n  Became master: %d\n  Released master: %d\n"+
		"  Packet Errors:\n    Length: %d\n    TTL: %d\n    Invalid Type: %d\n    Advertisement Interval: %d\n    Address List: %d\n"+
		"  Authentication Errors:\n    Invalid Type: %d\n    Type Mismatch: %d\n    Failure: %d\n  Priority Zero:\n    Received: %d\n    Sent: %d\n",
		name, s.Received, s.Sent, s.BecomeMaster, s.ReleaseMaster, s.Length, s.TTL, s.Type, s.Interval, s.AddrList,
		s.AuthType, s.AuthMismatch, s.AuthFailure, s.ZeroReceived, s.ZeroSent)
}

func writeData(b *strings.Builder, d node.Detail) {
	o := dataOf(d)
	line := func(format string, args ...any) { fmt.Fprintf(b, "   "+format+"\n", args...) }
	fmt.Fprintf(b, " VRRP Instance = %s\n", o.Name)
	line("VRRP Version = %d", o.Version)
	if d.Group != "" {
		line("Sync group = %s", d.Group)
	}
	line("State = %s", d.Status.State)
	line("Reason = %s", strings.TrimSpace(d.Status.Reason+" "+d.Status.Detail))
	for _, f := range d.Faults {
		line("Fault = %s: %s", f.Reason, f.Detail)
	}
	line("Last transition = %.6f (%s)", o.LastTransition, wall(d.Changed).Format("Mon Jan _2 15:04:05.000000 2006"))
	line("Master down timer = %d usecs", d.MasterDown.Microseconds())
	if o.VMAC != "" {
		line("Use VMAC, i/f name %s, xmit_base = %t", o.VMAC, d.Config.VMACXmitBase.V)
	}
	line("Interface = %s", o.Interface)
	line("Virtual Router ID = %d", o.VRID)
	line("Priority = %d", o.BasePriority)
	line("Effective priority = %d", o.EffectivePriority)
	if d.Status.Master.IsValid() {
		line("Master router = %s", d.Status.Master)
	}
	if d.MasterPriority > 0 {
		line("Master priority = %d", d.MasterPriority)
	}
	if o.Version == 3 {
		line("Master advert int = %.2f sec", d.MasterInterval.Seconds())
	}
	line("Advert interval = %v", time.Duration(o.AdverInt*float64(time.Second)))
	line("Preempt = %s", map[bool]string{true: "disabled", false: "enabled"}[o.NoPreempt])
	if o.AuthType > 0 {
		line("Authentication type = %s", d.Config.AuthType.V)
	}
	for _, l := range []struct {
		name string
		list []string
	}{{"Virtual IP", o.VIPs}, {"Virtual IP Excluded", o.EVIPs}, {"Virtual Routes", o.VRoutes}, {"Virtual Rules", o.VRules}, {"Tracked interfaces", o.TrackIfaces}, {"Tracked scripts", o.TrackScripts}} {
		if len(l.list) > 0 {
			line("%s (%d):", l.name, len(l.list))
			for _, v := range l.list {
				line("  %s", v)
			}
		}
	}
}

// writeHeard lists who else sends adverts, which a director without a cluster has nowhere else to show: what clusterctl vrid list shows of one.
func writeHeard(b *strings.Builder, ours []node.Detail, heard []node.HeardRouter) {
	b.WriteString("------< VRRP routers heard >------\n")
	used := map[string]map[int]bool{}
	use := func(dev string, vrid int) {
		if used[dev] == nil {
			used[dev] = map[int]bool{}
		}
		used[dev][vrid] = true
	}
	for _, d := range ours {
		use(d.Config.Interface.V, d.Config.VRID.V)
	}
	for _, h := range heard {
		what := ""
		switch {
		case h.Rejected != "":
			what = ", refused: " + h.Rejected
		case !h.Ours:
			what = ", none of ours"
		}
		fmt.Fprintf(b, " %s VRID %d: %s (%s) version %d priority %d interval %v auth %s for %s%s, %d adverts, the last at %s\n", h.Interface, h.VRID, h.Address,
			cmp.Or(h.MAC, "?"), h.Version, h.Priority, h.Interval, h.Auth, cmp.Or(strings.Join(h.VIPs, " "), "no addresses"), what, h.Packets,
			wall(h.LastAt).Format("15:04:05"))
		use(h.Interface, h.VRID)
	}
	for _, name := range sortedKeys(used) {
		fmt.Fprintf(b, " %s unused VRIDs: %s\n", name, strings.Trim(fmt.Sprint(node.FreeVRIDs(used[name], 10)), "[]"))
	}
}

// write puts a dump where keepalived does: into TMPDIR or /tmp. It replaces the file as a whole, and a link
// that somebody put there is not followed.
func (k Dump) write(dir string, list []node.Detail, heard []node.HeardRouter) (string, error) {
	b, err := k.render(list, heard)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "."+k.String()+"-*")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, k.String())
	_, err = f.Write(append(b, '\n'))
	if cerr := f.Chmod(0o644); err == nil { // for monitoring, as keepalived's; nothing in it is secret
		err = cerr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return path, nil
}

package config

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"quorate/internal/testenv"
)

// disagree lists keywords whose examples keepalived 2.2.7 judges otherwise than values.tsv,
// and why that is right: "good" is a value that it reports, "bad" one that it takes.
var disagree = map[string]string{
	"bad  interface_up_down_delays":                                "an interface without a delay means nothing",
	"bad global_defs default_interface":                            "Linux has no interface with such a name",
	"bad garp_group interface":                                     "Linux has no interface with such a name",
	"bad global_defs vrrp_garp_master_repeat":                      "nobody wants more than two thousand million packets",
	"bad global_defs vrrp_garp_master_refresh_repeat":              "nobody wants more than two thousand million packets",
	"bad vrrp_instance garp_master_repeat":                         "nobody wants more than two thousand million packets",
	"bad vrrp_instance garp_master_refresh_repeat":                 "nobody wants more than two thousand million packets",
	"bad global_defs vrrp_skip_check_adv_addr":                     "a word that is neither on nor off is a mistake",
	"bad global_defs vrrp_strict":                                  "a word that is neither on nor off is a mistake",
	"good global_defs vrrp_iptables":                               "Debian builds keepalived with nftables only; we say that no rules are made",
	"good global_defs vrrp_ipsets":                                 "Debian builds keepalived with nftables only; we say that no rules are made",
	"good global_defs nftables":                                    "vrrp_iptables stands above it here",
	"good vrrp_track_process quorum_max":                           "quorum stands above it here",
	"bad vrrp_sync_group track_interface":                          "the interface does not exist here, which hides the weight",
	"bad vrrp_instance track_interface":                            "the interface does not exist here, which hides the weight",
	"good vrrp_instance use_ipvlan":                                "use_vmac stands above it here",
	"good vrrp_instance native_ipv6":                               "IPv4 addresses stand above it here",
	"good virtual_server ip_family":                                "the service has an IPv4 address here",
	"good virtual_server hashed":                                   "the scheduler is another one here",
	"good virtual_server sh-port":                                  "the scheduler is another one here",
	"good virtual_server sh-fallback":                              "the scheduler is another one here",
	"good virtual_server mh-port":                                  "the scheduler is another one here",
	"good virtual_server mh-fallback":                              "the scheduler is another one here",
	"bad virtual_server.real_server.HTTP_GET.url regex":            "keepalived compiles the pattern when it starts, not under -t",
	"bad virtual_server.real_server.HTTP_GET.url regex_min_offset": "a url with such a line and no path makes keepalived crash (signal 11)",
	"bad virtual_server.real_server.HTTP_GET.url regex_max_offset": "a url with such a line and no path makes keepalived crash (signal 11)",
	"bad virtual_server.real_server.HTTP_GET.url regex_stack":      "a url with such a line and no path makes keepalived crash (signal 11)",
	"bad virtual_server.real_server.SSL_GET.url regex":             "keepalived compiles the pattern when it starts, not under -t",
	"bad virtual_server.real_server.SSL_GET.url regex_min_offset":  "a url with such a line and no path makes keepalived crash (signal 11)",
	"bad virtual_server.real_server.SSL_GET.url regex_max_offset":  "a url with such a line and no path makes keepalived crash (signal 11)",
	"bad virtual_server.real_server.SSL_GET.url regex_stack":       "a url with such a line and no path makes keepalived crash (signal 11)",
	"good virtual_server.real_server.UDP_CHECK payload":            "2.4 takes blanks between the digits",
}

// The tables are compared with the real thing: all keywords of a block with a value that
// values.tsv allows, and once more with one that it forbids, are given to keepalived -t,
// which must name the lines of the latter and no other. Interfaces, users and what lines
// refer to do not exist here, so what it says about that does not count.
func TestKeepalivedAgrees(t *testing.T) {
	testenv.Need(t, "keepalived")
	keepalived, _ := testenv.Find("keepalived")
	if out, _ := exec.Command(keepalived, "-v").CombinedOutput(); !strings.Contains(string(out), "v2.2.7") {
		testenv.Missing(t, "needs keepalived 2.2.7, which the tables were measured with")
	}
	dir := t.TempDir()
	lineNo := regexp.MustCompile(`Line (\d+)\) (.*)`)
	host := regexp.MustCompile(`doesn't exist|not found|not configured|uid/gid|deprecated|No such file`)
	const tracked = "vrrp_script T {\nscript /bin/true\n}\ntrack_file T {\nfile /tmp/t\n}\nvrrp_track_process T {\nprocess x\n}\nbfd_instance T {\nneighbor_ip 10.9.9.9\n}\n"
	compared := 0
	for _, p := range theSchema.order {
		for _, what := range []string{"good", "bad"} {
			var lines []string
			var kws []*keyword
			for _, name := range p.order {
				k := p.keywords[name]
				if !k.statement() || k.value == "" || k.kind == "block" || k.in227 != "yes" {
					continue
				}
				good, bad := example(k)
				v := good
				if what == "bad" {
					v = bad
				}
				if what == "bad" && (v == "" || strings.HasPrefix(name, "neighb")) {
					continue // without its neighbour a bfd_instance is not read to its end
				}
				line := k.name + " " + v
				if k.kind == "listblock" {
					line = k.name + " " + blockName(k.block, k.name) + " { " + v + " }"
				}
				lines, kws = append(lines, line), append(kws, k)
			}
			if len(lines) == 0 {
				continue
			}
			text, at := around(p.path, strings.Join(lines, "\n"))
			if p.path == "bfd_instance" && what == "bad" {
				text, at = strings.Replace(text, "{\n", "{\nneighbor_ip 10.0.0.9\n", 1), at+1
			}
			text, at = tracked+text, at+strings.Count(tracked, "\n")
			file := filepath.Join(dir, "k.conf")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, _ := exec.Command(keepalived, "-t", "-f", file).CombinedOutput() // its exit code is not the question
			said := map[int]string{}
			for _, m := range lineNo.FindAllStringSubmatch(string(out), -1) {
				if n, _ := strconv.Atoi(m[1]); said[n] == "" && !host.MatchString(m[2]) {
					said[n] = m[2]
				}
			}
			for i, k := range kws {
				msg, named := said[at+i]
				key := fmt.Sprintf("%s %s %s", what, k.block, k.name)
				compared++
				switch {
				case named == (what == "bad"):
					if disagree[key] != "" {
						t.Errorf("%s: keepalived agrees; take it out of the list", key)
					}
				case disagree[key] == "":
					t.Errorf("%s: %q, keepalived says: %q", key, lines[i], msg)
				}
			}
		}
	}
	if compared < 500 {
		t.Errorf("only %d examples compared", compared)
	}
}

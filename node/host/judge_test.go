package host

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quorate/config"
)

// What a director lacks for a configuration is found where the file names it: interfaces, networks, programs.
func TestJudge(t *testing.T) {
	if os.Geteuid() != 0 || inUserNamespace() {
		t.Skip("needs root: whom scripts run as is judged")
	}
	// Not in a temporary directory: nobody but root may change what lies above the scripts.
	dir, err := os.MkdirTemp("/root", "judge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("good.sh", "#!/bin/sh\nexit 0\n", 0o755)
	write("plain.sh", "#!/bin/sh\nexit 0\n", 0o644)
	write("mine.sh", "#!/bin/sh\nexit 0\n", 0o700)
	write("open.sh", "#!/bin/sh\nexit 0\n", 0o777)
	write("dos.sh", "#!/bin/sh\r\nexit 0\r\n", 0o755)
	write("perl.sh", "#!/opt/nowhere/perl -w\n", 0o755)
	have := map[string][]netip.Prefix{"eth0": {netip.MustParsePrefix("10.0.0.11/24")}, "lo": nil}
	const secure = "global_defs { enable_script_security\n script_user root }\n"
	instance := func(lines string) string {
		return secure + "vrrp_instance V { interface eth0\n virtual_router_id 5\n virtual_ipaddress { 10.0.0.1/24 }\n" + lines + "}\n"
	}
	service := func(lines string) string {
		return secure + "virtual_server 10.0.0.1 80 { lb_algo rr\n lb_kind DR\n protocol TCP\n real_server 10.0.0.2 80 {\n" + lines + "} }\n"
	}
	for _, c := range []struct{ name, conf, want string }{
		{"nothing is wrong", instance("notify DIR/good.sh"), ""},
		{"interface", strings.Replace(instance(""), "eth0", "eth9", 1), `d1 has no interface "eth9" [no-such-interface]`},
		{"interface that may come later", "global_defs { dynamic_interfaces }\n" + strings.Replace(instance(""), "eth0", "eth9", 1), ""},
		{"tracked interface", instance("track_interface { eth8 }"), `d1 has no interface "eth8" [no-such-interface]`},
		{"interface of an address", instance("virtual_ipaddress_excluded { 10.0.0.9/24 dev eth7 }"), `d1 has no interface "eth7" [no-such-interface]`},
		{"network of an address", strings.Replace(instance(""), "10.0.0.1/24", "10.0.9.1", 1), "10.0.9.1 is in no network of eth0 (10.0.0.0/24)"},
		{"missing", instance("notify DIR/none.sh"), "script DIR/none.sh does not exist on d1 [script-missing]"},
		{"missing in PATH", instance("notify nosuchprogram"), "script nosuchprogram does not exist on d1 [script-missing]"},
		{"not executable", instance("notify_master DIR/plain.sh"), "script DIR/plain.sh is not an executable file on d1 [script-not-runnable]"},
		{"not executable by its user", instance(`notify_fault "DIR/mine.sh now" nobody`), "script DIR/mine.sh is not an executable file by nobody on d1 [script-not-runnable]"},
		{"a directory", instance("notify_backup DIR"), "script DIR is not an executable file on d1 [script-not-runnable]"},
		{"no such user", instance(`notify_stop "DIR/good.sh" nosuchuser`), `user "nosuchuser" does not exist on this host [script-missing]`},
		{"nobody to run scripts as", strings.Replace(instance("notify DIR/good.sh"), "script_user root", "script_user nosuchuser", 1), `scripts that name no user cannot be run on d1: user "nosuchuser" does not exist on this host [unknown-user]`},
		{"written on Windows", instance("notify DIR/dos.sh"), `script DIR/dos.sh is to be run by "/bin/sh\r", which does not exist on d1 [script-not-runnable]`},
		{"no interpreter", instance("notify DIR/perl.sh"), `is to be run by "/opt/nowhere/perl", which does not exist on d1 [script-not-runnable]`},
		{"others may write it", instance("notify DIR/open.sh"), "script DIR/open.sh is never run on d1 (enable_script_security): DIR/open.sh is not owned by root, or others may write it [unsafe-script]"},
		{"others may write it, but it is not root that runs it", instance("notify DIR/open.sh nobody"), ""},
		{"without security", strings.Replace(instance("notify DIR/open.sh"), "enable_script_security", "", 1), "script DIR/open.sh runs as root on d1, and others can change it"},
		{"security is not asked for", strings.Replace(instance("notify DIR/good.sh"), "enable_script_security", "", 1), "scripts are run without enable_script_security"},
		{"a tracked script", "vrrp_script c { script DIR/plain.sh }\n" + instance("track_script { c }"), "[script-not-runnable]"},
		{"a check", service("MISC_CHECK { misc_path DIR/plain.sh }"), "script DIR/plain.sh is not an executable file on d1 [script-not-runnable]"},
		{"a pipe's reader", secure + "global_defs { vrrp_notify_fifo /run/f\n vrrp_notify_fifo_script DIR/none.sh }\n", "[script-missing]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.ReplaceAll(c.conf, "DIR", dir)
			cfg, _, _ := config.LintTree("k", config.Files{"k": text}, config.Options{ConfigID: "d1"})
			var got []string
			for _, d := range Judge(cfg, have, "d1") {
				if d.Line == 0 || d.File != "k" {
					t.Errorf("no place: %+v", d)
				}
				got = append(got, d.String())
			}
			want := strings.ReplaceAll(c.want, "DIR", dir)
			switch all := strings.Join(got, "\n"); {
			case want == "" && len(got) > 0, want != "" && !strings.Contains(all, want):
				t.Errorf("want %q, got\n%s", want, all)
			case len(got) > 2:
				t.Errorf("more than one finding about one mistake:\n%s", all)
			}
		})
	}
}

// A file of many services names a program often; it is judged once.
func TestProgramsOnce(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "virtual_server 10.0.0.1 %d { lb_algo rr\n lb_kind DR\n protocol TCP\n real_server 10.0.0.2 80 { MISC_CHECK { misc_path \"/nowhere/check %d\" } } }\n", i+1, i)
	}
	cfg, _, _ := config.LintTree("k", config.Files{"k": b.String()}, config.Options{ConfigID: "d1"})
	if found := JudgePrograms(cfg, "d1"); len(found) != 1 || found[0].Line != 4 {
		t.Errorf("want one finding on line 4, got\n%s", found.Text(nil))
	}
}

func TestRefuseInterfaces(t *testing.T) {
	var next config.Config
	next.Instances = []*config.Instance{{Interface: config.Value[string]{V: "nosuch0"}}}
	if err := refuseInterfaces(nil, &next); err == nil || !strings.Contains(err.Error(), `this host has no interface "nosuch0"`) {
		t.Error(err)
	}
	if err := refuseInterfaces(&next, &next); err != nil { // it was used before
		t.Error(err)
	}
	next.Global.DynamicInterfaces.V = true
	if err := refuseInterfaces(nil, &next); err != nil {
		t.Error(err)
	}
}

package host

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"quorate/config"
)

// Networks are the interfaces of this host, each with the networks of its addresses.
func Networks() (map[string][]netip.Prefix, error) {
	ifs, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	out := make(map[string][]netip.Prefix, len(ifs))
	for _, i := range ifs {
		out[i.Name] = nil
		list, err := i.Addrs()
		if err != nil {
			continue // it is gone again
		}
		for _, a := range list {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				out[i.Name] = append(out[i.Name], p)
			}
		}
	}
	return out, nil
}

// Judge says what this host lacks for a configuration: interfaces, networks for the virtual addresses, programs that can be run.
// have is what Networks returns, node the name that findings are about.
func Judge(cfg *config.Config, have map[string][]netip.Prefix, node string) config.Diagnostics {
	return slices.Concat(judgeInterfaces(cfg, have, node), config.Subnets(cfg, have), JudgePrograms(cfg, node))
}

func judgeInterfaces(cfg *config.Config, have map[string][]netip.Prefix, node string) (out config.Diagnostics) {
	names := strings.Join(slices.DeleteFunc(slices.Sorted(maps.Keys(have)), func(n string) bool { return n == "lo" }), " ")
	seen := map[string]bool{}
	if cfg.Global.DynamicInterfaces.V {
		return nil // it may come later
	}
	want := func(name string, pos config.Pos, keyword string) {
		if _, ok := have[name]; ok || name == "" || seen[name] {
			return
		}
		seen[name] = true
		out = append(out, config.Diagnostic{Severity: config.Error, Code: "no-such-interface", Pos: pos, Keyword: keyword,
			Message: fmt.Sprintf("%s has no interface %q", node, name),
			Hint:    fmt.Sprintf("it has %s; where names differ per director, write one line for each: @%s %s NAME", names, node, cmp.Or(keyword, "interface"))})
	}
	for _, in := range cfg.Instances {
		want(in.Interface.V, in.Interface.Pos, "interface")
		for _, list := range [][]config.Address{in.VIPs, in.ExcludedVIPs} {
			for _, a := range list {
				want(a.Dev, a.Pos, "")
			}
		}
		for _, t := range in.TrackIfaces {
			want(t.V, t.Pos, "track_interface")
		}
	}
	return out
}

// Codes of what JudgePrograms finds.
const (
	CodeNoProgram     = "script-missing"      // there is no such file, or no such user
	CodeNotRunnable   = "script-not-runnable" // it is there and would fail whenever it is run
	CodeUnsafeProgram = "unsafe-script"       // somebody else than root can change what root runs
	CodeNoSecurity    = "script-security"     // enable_script_security is not set
	CodeNoUser        = "unknown-user"        // script_user names nobody
)

// JudgePrograms looks at every program the configuration runs as the worker that runs it would: whether it is there, whether its
// user may run it, and whether somebody else could change what root runs (keepalived's script security). The keyword of a finding
// is vrrp_script when elections depend on the program.
func JudgePrograms(cfg *config.Config, node string) (out config.Diagnostics) {
	id := identityOf(cfg.Global)
	nobody := false // script_user is of no use
	if u := cfg.Global.ScriptUser; u.Set {
		if _, err := credential(config.Command{}, id); err != nil {
			nobody = true
			out = append(out, config.Diagnostic{Severity: config.Warning, Code: CodeNoUser, Pos: u.Pos, Keyword: "script_user",
				Message: fmt.Sprintf("scripts that name no user cannot be run on %s: %v", node, err), Hint: "make it there, or name another one"})
		}
	}
	var found *config.Command // the first that would run
	tracked := map[config.Pos]bool{}
	for _, s := range cfg.Scripts {
		tracked[s.Command.Pos] = true
	}
	for _, c := range cfg.Programs() {
		keyword := ""
		if tracked[c.Pos] {
			keyword = "vrrp_script"
		}
		add := func(code, hint, format string, args ...any) {
			out = append(out, config.Diagnostic{Severity: config.Warning, Code: code, Pos: c.Pos, Keyword: keyword, Hint: hint, Message: fmt.Sprintf(format, args...)})
		}
		if strings.HasPrefix(c.Argv[0], "<") {
			continue // a file that is to be readable, or not: that is the test
		}
		path, err := exec.LookPath(c.Argv[0])
		if err != nil && !errors.Is(err, os.ErrPermission) {
			path = c.Argv[0]
		} else if path == "" {
			path = c.Argv[0] // there, but not executable
		}
		st, err := os.Stat(path)
		if err != nil {
			add(CodeNoProgram, "install it there, or it fails whenever it is run", "script %s does not exist on %s", path, node)
			continue
		}
		cred, err := credential(c, id)
		if err != nil && nobody && c.User == "" {
			continue // said above
		}
		if err != nil {
			add(CodeNoProgram, "make the user there, or name another one (script_user, or behind the command)", "script %s cannot be run on %s: %v", path, node, err)
			continue
		}
		if found == nil && st.Mode().IsRegular() {
			found = &c // keepalived does not ask whether it could be run
		}
		if !st.Mode().IsRegular() || !mayRun(st, cred) {
			who := ""
			if cred != nil && st.Mode()&0o111 != 0 {
				who = " by " + cmp.Or(c.User, id.user)
			}
			add(CodeNotRunnable, "chmod +x "+path+", or it fails whenever it is run", "script %s is not an executable file%s on %s", path, who, node)
			continue
		}
		if line, lacks := interpreter(path); lacks {
			hint := "install it, or repair the first line of the script"
			if strings.HasSuffix(line, "\r") {
				hint = "the script has the line ends of Windows: sed -i 's/\\r$//' " + path
			}
			add(CodeNotRunnable, hint, "script %s is to be run by %q, which does not exist on %s", path, line, node)
			continue
		}
		if cred != nil && cred.Uid != 0 {
			continue
		}
		if weak := trusted(path); weak != nil && id.secure {
			add(CodeUnsafeProgram, "chown root and chmod go-w what is named, or give the script a user of its own", "script %s is never run on %s (enable_script_security): %v", path, node, weak)
		} else if weak != nil {
			add(CodeUnsafeProgram, "chown root and chmod go-w what is named, or give the script a user of its own; enable_script_security refuses such scripts",
				"script %s runs as root on %s, and others can change it: %v", path, node, weak)
		}
	}
	if found != nil && !id.secure {
		out = append(out, config.Diagnostic{Severity: config.Warning, Code: CodeNoSecurity, Pos: found.Pos,
			Hint:    "add to global_defs, above all scripts: enable_script_security and script_user NAME",
			Message: "scripts are run without enable_script_security: a script that others than root can change is run all the same; keepalived calls this a security violation"})
	}
	return out
}

// mayRun says whether the permissions of a file let somebody run it; nil is root.
func mayRun(st os.FileInfo, cred *syscall.Credential) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch m := st.Mode().Perm(); {
	case cred == nil || cred.Uid == 0 || !ok:
		return m&0o111 != 0
	case sys.Uid == cred.Uid:
		return m&0o100 != 0
	case sys.Gid == cred.Gid:
		return m&0o010 != 0
	default:
		return m&0o001 != 0
	}
}

// interpreter returns the program that the first line of a script names, when it is not there.
func interpreter(path string) (program string, lacks bool) {
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	head := make([]byte, 256) // BINPRM_BUF_SIZE
	n, _ := io.ReadFull(f, head)
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	rest, is := bytes.CutPrefix(line, []byte("#!"))
	if !is {
		return "", false
	}
	program = strings.TrimLeft(string(rest), " \t")
	if i := strings.IndexAny(program, " \t"); i >= 0 {
		program = program[:i]
	}
	if !filepath.IsAbs(program) {
		return program, program != ""
	}
	_, err = os.Stat(program)
	return program, err != nil
}

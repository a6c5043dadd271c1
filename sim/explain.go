package sim

import (
	"fmt"
	"strings"
	"time"
)

// Explain tells a scenario as a story: what it proves, then what happens when, in sentences.
func Explain(sc *Scenario) (string, error) {
	var b strings.Builder
	if sc.Comment != "" {
		b.WriteString(strings.TrimSpace(sc.Comment) + "\n\n")
	}
	var now time.Duration
	for _, d := range sc.Directives {
		verb, args, err := words(d.Text)
		if err != nil {
			return "", sc.mistake(d, err)
		}
		if verb == "run" && len(args) == 1 {
			t, err := duration("time", args[0].key)
			if err != nil {
				return "", sc.mistake(d, err)
			}
			now += t
			continue
		}
		if s := sentence(verb, args); s != "" {
			fmt.Fprintf(&b, "%-9s %s\n", stamp(now), s)
		}
	}
	fmt.Fprintf(&b, "%-9s The end.\n", stamp(now))
	return b.String(), nil
}

// sentence is a directive in words; empty for those that only show something.
func sentence(verb string, args []arg) string {
	var bare []string
	opt := map[string]string{}
	var options []string
	for _, a := range args {
		if a.op == "" {
			bare = append(bare, a.key)
			continue
		}
		opt[a.key] = a.val
		options = append(options, a.key+" "+map[string]string{"=": "", "<=": "at most ", ">=": "at least "}[a.op]+a.val)
	}
	all := strings.Join(bare, ", ")
	first := func(i int) string {
		if i >= 0 && i < len(bare) {
			return bare[i]
		}
		return "?"
	}
	proto := ""
	if p := opt["proto"]; p != "" {
		proto = " (" + p + " only)"
	}
	if dev := opt["dev"]; dev != "" {
		proto += " on " + dev
	}
	paths := strings.Join(bare[:max(0, len(bare)-1)], ", ")
	last := first(len(bare) - 1)
	switch verb {
	case "world":
		return "A world with " + strings.Join(options, ", ") + "."
	case "conf":
		if len(bare) > 1 {
			return all + " get a configuration by hand: they start, or reload if they run."
		}
		return all + " gets a configuration by hand: it starts, or reloads if it runs."
	case "stage":
		return all + map[bool]string{true: " are", false: " is"}[len(bare) > 1] + " told which configuration is about to be activated."
	case "push":
		at := ""
		if opt["at"] != "" {
			at = " on " + opt["at"]
		}
		return "An operator pushes a configuration" + at + "."
	case "put":
		return fmt.Sprintf("Somebody writes %s into the store.", first(0))
	case "disk":
		what := "works"
		switch {
		case opt["slow"] != "":
			what = "takes " + opt["slow"] + " for every write"
		case opt["crash"] != "":
			what = "will, when the power fails during a write, have it " + opt["crash"]
		case first(1) == "full":
			what = "is full"
		}
		return "The disk of " + first(0) + " " + what + "."
	case "load":
		return fmt.Sprintf("%s asks %s for an answer, again and again.", first(0), first(1))
	case "stop":
		return "The daemon on " + all + " is stopped in order."
	case "kill":
		return "The daemon on " + all + " is killed; the kernel keeps what it holds."
	case "crash":
		return "The power of " + all + " fails."
	case "start":
		return all + " starts."
	case "restart":
		return "The daemon on " + all + " is restarted."
	case "pause":
		if len(bare) > 1 {
			return fmt.Sprintf("The daemon on %s hangs for %s.", first(0), first(1))
		}
		return "The daemon on " + first(0) + " hangs."
	case "resume":
		return "The daemon on " + all + " goes on."
	case "nic":
		cable := "The cable of " + first(0)
		if len(bare) > 2 {
			cable += " on " + first(2)
		}
		if first(1) == "up" {
			return cable + " is plugged in."
		}
		if deaf, _, half := halves(first(1)); half {
			return cable + " works in one direction only: " + map[bool]string{true: "nothing arrives.", false: "nothing leaves."}[deaf]
		}
		return cable + " is pulled."
	case "cut":
		return "Nothing gets through any more" + proto + ": " + all + "."
	case "split":
		return "The network falls apart: " + all + "."
	case "heal":
		return "The network is whole again."
	case "recover":
		return "Everything is repaired and started."
	case "loss":
		return fmt.Sprintf("Frames are lost, %s of them%s: %s.", last, proto, paths)
	case "dup":
		return fmt.Sprintf("Frames are doubled, %s of them: %s.", last, paths)
	case "reorder":
		return fmt.Sprintf("Frames overtake each other, %s of them: %s.", last, paths)
	case "corrupt":
		return fmt.Sprintf("Frames are damaged, %s of them: %s.", last, paths)
	case "delay":
		return fmt.Sprintf("Frames take %s: %s.", last, paths)
	case "rate":
		if last == "off" {
			return "The line is as fast as any again: " + paths + "."
		}
		return fmt.Sprintf("The line carries no more than %s: %s.", last, paths)
	case "mtu":
		if last == "off" {
			return "Frames of any size get through again: " + paths + "."
		}
		return fmt.Sprintf("Packets of more than %s octets do not get through: %s.", last, paths)
	case "igmp":
		switch {
		case first(0) == "off":
			return "Switches send multicast to every port."
		case opt["querier"] != "":
			return "Switches send multicast only where IGMP has asked for it, and a querier asks every " + opt["querier"] + "."
		}
		return "Switches send multicast only where IGMP has asked for it; nobody queries."
	case "cam":
		if first(0) == "flush" {
			return "Switches forget where addresses are."
		}
		return "The address tables of switches are bounded: " + strings.Join(options, ", ") + "."
	case "stp":
		return "From now on switches block a port for " + first(0) + " after its link came up."
	case "addr":
		return fmt.Sprintf("Somebody does on %s: ip addr %s %s.", first(0), first(1), first(2))
	case "garp":
		return fmt.Sprintf("%s announces that it has %s.", first(0), first(1))
	case "advert":
		return fmt.Sprintf("%s sends forged adverts: %s.", first(0), strings.Join(options, ", "))
	case "clock":
		if step := opt["step"]; step != "" {
			return fmt.Sprintf("The wall clock of %s jumps by %s.", first(0), step)
		}
		return fmt.Sprintf("The clock of %s runs %s fast.", first(0), first(1))
	case "script":
		if flap := opt["flap"]; flap != "" {
			return fmt.Sprintf("The script %s on %s ends with %s and 0 in turn, each for %s.", first(1), first(0), opt["exit"], flap)
		}
		return fmt.Sprintf("The script %s on %s ends with %s from now on.", first(1), first(0), opt["exit"])
	case "track":
		if n := opt["count"]; n != "" {
			return fmt.Sprintf("On %s there are %s processes of %s from now on.", first(0), n, first(1))
		}
		return fmt.Sprintf("The file %s on %s has the number %s from now on.", first(1), first(0), opt["number"])
	case "server":
		port := ""
		if p := opt["port"]; p != "" {
			port = " on port " + p
		}
		does := map[string]string{"up": "answers", "down": "does not answer connections", "hang": "accepts connections and says nothing", "refuse": "refuses connections"}[first(1)]
		if flap := opt["flap"]; flap != "" {
			does += " and works in turn, each for " + flap
		}
		return fmt.Sprintf("The real server %s %s%s.", first(0), does, port)
	case "expect":
		return "Now it must hold: " + strings.Join(options, ", ") + "."
	case "check":
		return strings.TrimSpace("Now the invariants are judged "+all) + "."
	}
	return ""
}

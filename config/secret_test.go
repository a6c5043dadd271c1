package config

import (
	"encoding/json"
	"strings"
	"testing"
)

// No output that is not asked for secrets has one, however the file writes it.
func TestSecretsAreNotShown(t *testing.T) {
	const inst = "vrrp_instance X {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress { 10.0.0.7 }\n authentication {\n  auth_type PASS\n  %\n }\n}\n"
	for name, text := range map[string]string{
		"plain":          strings.Replace(inst, "%", "auth_pass s3cr3t", 1),
		"quoted":         strings.Replace(inst, "%", `auth_pass "s3cr3t"`, 1),
		"tab, CRLF":      strings.Replace(inst, "%", "auth_pass\ts3cr3t\r", 1),
		"commented":      strings.Replace(inst, "%", "auth_pass x\n#auth_pass s3cr3t\n! auth_pass s3cr3t", 1),
		"conditional":    strings.Replace(inst, "%", "@d1 auth_pass s3cr3t\n@^d1 auth_pass s3cr3t2", 1),
		"variable":       "$P=s3cr3t\n" + strings.Replace(inst, "%", "auth_pass $P", 1),
		"braces":         "@d1 $P = s3cr3t\n" + strings.Replace(inst, "%", "auth_pass ${P}", 1),
		"two variables":  "$Q=s3cr3t\n$P=${Q}\n" + strings.Replace(inst, "%", "auth_pass ${P}", 1),
		"variable block": "$P=auth_pass s3cr3t\n" + strings.Replace(inst, "%", "$P", 1),
		"multi-line":     "$P= \\\n auth_type PASS \\\n auth_pass s3cr3t\n" + strings.Replace(inst, "%", "$P", 1),
		"too many words": strings.Replace(inst, "%", "auth_pass s3cr3t more", 1),
		"wrong place":    "auth_pass s3cr3t\n" + strings.Replace(inst, "%", "auth_pass s3cr3t", 1),
		"same line":      "vrrp_instance X { authentication { auth_type PASS\n auth_pass s3cr3t } }\n",
		"misspelt":       strings.Replace(inst, "%", "auth_passwd s3cr3t", 1),
		"wrong block":    strings.Replace(inst, " authentication {", " auth_pass s3cr3t\n authentication {", 1),
		"HMAC":           strings.Replace(inst, " authentication {", " auth_hmac {\n key 1 s3cr3t\n }\n authentication {", 1),
		"mail":           "global_defs {\n smtp_auth lb s3cr3t\n}\n",
		"TLS":            "SSL {\n password s3cr3t\n ca /x\n}\n",
	} {
		src := Files{"k": text}
		opt := Options{ConfigID: "d1"}
		outs := map[string]string{"mask": MaskSecrets(src)["k"]}
		cfg, ds := Parse("k", src, opt)
		outs["findings"] = ds.Text(src)
		outs["print"], _ = Print("k", src, opt, PrintOptions{})
		statements, _ := Statements("k", src, opt, PrintOptions{})
		j, err := json.Marshal(statements)
		if err != nil {
			t.Fatal(err)
		}
		outs["json"] = string(j)
		other, _ := Parse("k", Files{"k": strings.ReplaceAll(text, "s3cr3t", "s3cr3t0")}, opt)
		for _, c := range Diff(cfg, other) {
			outs["diff"] += c.String()
		}
		cfg.Mask()
		outs["tree"] = dump(cfg)
		_, across := Render("k", src, []string{"d1", "d2"})
		outs["render"] = across.Text(src)
		for what, out := range outs {
			if strings.Contains(out, "s3cr3t") {
				t.Errorf("%s: %s shows the secret:\n%s", name, what, out)
			}
		}
		if n := strings.Count(outs["mask"], "\n"); n != strings.Count(text, "\n") {
			t.Errorf("%s: masked text has %d lines", name, n)
		}
	}
}

// What was shown in place of a password is not a password.
func TestMaskedTextIsRefused(t *testing.T) {
	text := "vrrp_instance X {\n interface eth0\n virtual_router_id 7\n priority 100\n virtual_ipaddress { 10.0.0.7 }\n authentication {\n auth_type PASS\n auth_pass " + masked + "\n }\n}\n"
	_, ds := Parse("k", Files{"k": text}, Options{})
	if len(ds) != 1 || ds[0].Code != "masked-secret" || ds[0].Line != 8 {
		t.Errorf("found:\n%s", ds.Text(nil))
	}
	shown := MaskSecrets(Files{"k": strings.Replace(text, masked, "abcd", 1)})["k"]
	if _, ds := Parse("k", Files{"k": shown}, Options{}); !ds.HasErrors() {
		t.Errorf("masked text is accepted:\n%s", shown)
	}
}

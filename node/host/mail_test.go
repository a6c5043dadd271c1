package host

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/internal/testenv"
	"quorate/node"
)

// smtpServer takes mail as a server does that is down for the first connections.
type smtpServer struct {
	ln   net.Listener
	down int
	tls  *tls.Config // offers STARTTLS, and behind it AUTH PLAIN

	mu    sync.Mutex
	mails []string // commands and data of each session that delivered one
	lines []string // of all sessions
}

func newSMTP(t *testing.T, address string, down int) *smtpServer {
	t.Helper()
	ln, err := net.Listen("tcp4", address)
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	s := &smtpServer{ln: ln, down: down}
	go func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if n < down {
				_, _ = fmt.Fprint(c, "421 not now\r\n")
				_ = c.Close()
				continue
			}
			s.session(c)
		}
	}()
	return s
}

func (s *smtpServer) session(c net.Conn) {
	defer func() { _ = c.Close() }()
	say := func(text string) { _, _ = fmt.Fprint(c, text+"\r\n") }
	secure := false
	say("220 test")
	var all strings.Builder
	data := false
	r := bufio.NewScanner(c)
	for r.Scan() {
		line := r.Text()
		all.WriteString(line + "\n")
		s.mu.Lock()
		s.lines = append(s.lines, line)
		s.mu.Unlock()
		switch {
		case data && line == ".":
			data = false
			say("250 taken")
			s.mu.Lock()
			s.mails = append(s.mails, all.String())
			s.mu.Unlock()
		case data:
		case strings.HasPrefix(line, "EHLO") && s.tls != nil && !secure:
			say("250-fine\r\n250 STARTTLS")
		case strings.HasPrefix(line, "EHLO") && secure:
			say("250-fine\r\n250 AUTH PLAIN")
		case strings.HasPrefix(line, "AUTH"):
			say("235 welcome")
		case line == "STARTTLS":
			say("220 go on")
			secure, c = true, tls.Server(c, s.tls)
			r = bufio.NewScanner(c)
		case line == "DATA":
			data = true
			say("354 go on")
		case line == "QUIT":
			say("221 bye")
			return
		default:
			say("250 fine")
		}
	}
}

func (s *smtpServer) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func (s *smtpServer) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.mails...)
}

// TestMail: in keepalived's words, in order, after the server was down, and nothing twice.
func TestMail(t *testing.T) {
	s := newSMTP(t, "127.0.0.1:0", 2)
	var mu sync.Mutex
	var troubles []string
	m := newMailer((&logBuffer{}).logger(), func(err error) {
		mu.Lock()
		defer mu.Unlock()
		troubles = append(troubles, fmt.Sprint(err))
	})
	m.retry = 20 * time.Millisecond
	str := func(s string) config.Value[string] { return config.Value[string]{V: s, Set: true} }
	m.Configure(config.Global{RouterID: str("lb1"), SMTPServer: str(s.ln.Addr().String()), NotificationEmailFrom: str("lb@example.com"),
		NotificationEmail: []config.Value[string]{str("ops@example.com"), str("Second <two@example.com>")}, SMTPHelo: str("lb1.example.com")})
	began := time.Now()
	for _, state := range []string{"MASTER", "BACKUP", "BACKUP", "MASTER"} {
		m.Tell(node.Notify{Kind: "INSTANCE", Name: "VI_1", State: state})
	}
	m.Tell(node.Notify{Kind: "GROUP", Name: "G", State: "MASTER"})
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("queueing took %v", took)
	}
	eventually(t, 10*time.Second, func() bool { return len(s.all()) == 4 }, func() string { return fmt.Sprint(s.all(), troubles) })
	m.Close(time.Second)
	for k, want := range []string{
		"Subject: [lb1] VRRP Instance VI_1 - Entering MASTER state\n|=> VRRP Instance is now owning VRRP VIPs <=\n|MAIL FROM:<lb@example.com>|RCPT TO:<ops@example.com>|RCPT TO:<two@example.com>|EHLO lb1.example.com|X-Mailer: Keepalived",
		"Subject: [lb1] VRRP Instance VI_1 - Entering BACKUP state\n|(2 times since ",
		"Subject: [lb1] VRRP Instance VI_1 - Entering MASTER state\n",
		"Subject: [lb1] VRRP Group G - Entering MASTER state\n",
	} {
		for part := range strings.SplitSeq(want, "|") {
			if !strings.Contains(s.all()[k], part) {
				t.Errorf("mail %d lacks %q:\n%s", k, part, s.all()[k])
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(troubles) < 3 || !strings.Contains(troubles[0], "421") || troubles[len(troubles)-1] != "<nil>" {
		t.Errorf("troubles %q", troubles)
	}
}

// A password goes to the server whose certificate is right, and to nobody else.
func TestMailPassword(t *testing.T) {
	web := httptest.NewUnstartedServer(nil) // for its certificate, which names 127.0.0.1
	web.StartTLS()
	defer web.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(web.Certificate())
	login := "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00lb\x00s3cr3t"))
	for _, tt := range []struct {
		name  string
		tls   *tls.Config
		roots *x509.CertPool
		err   string // "": the mail is delivered
	}{
		{"right certificate", web.TLS, trusted, ""},
		{"certificate of somebody else", web.TLS, x509.NewCertPool(), "certificate"},
		{"no TLS", nil, trusted, "STARTTLS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSMTP(t, "127.0.0.1:0", 0)
			s.tls = tt.tls
			to := mailTarget{server: s.ln.Addr().String(), from: "lb@example.com", to: []string{"ops@example.com"}, helo: "lb", timeout: 10 * time.Second,
				user: "lb", pass: "s3cr3t", roots: tt.roots}
			err := to.send(t.Context(), letter{subject: "x", body: "y", at: time.Now(), times: 1})
			if got := fmt.Sprint(s.all()); (err == nil) != (tt.err == "") || tt.err == "" && !strings.Contains(got, login) {
				t.Errorf("%v, the server got %s", err, got)
			}
			if tt.err != "" && !strings.Contains(fmt.Sprint(err), tt.err) {
				t.Errorf("%v, want %q", err, tt.err)
			}
			if strings.Contains(s.heard(), "AUTH") && tt.err != "" {
				t.Errorf("the password was sent: %s", s.heard())
			}
		})
	}
}

// TestMailQueueIsBounded: a server that never answers costs neither memory nor a moment at the end.
func TestMailQueueIsBounded(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0") // accepts by the kernel, says nothing
	must(t, err)
	defer func() { _ = ln.Close() }()
	log := &logBuffer{}
	m := newMailer(log.logger(), func(error) {})
	m.Configure(config.Global{SMTPServer: config.Value[string]{V: ln.Addr().String()}, NotificationEmail: []config.Value[string]{{V: "ops@example.com"}}})
	for n := range 5 * mailQueue {
		m.Tell(node.Notify{Kind: "INSTANCE", Name: fmt.Sprint("V", n), State: "MASTER"})
	}
	if n := m.waiting(); n != mailQueue {
		t.Errorf("%d wait", n)
	}
	began := time.Now()
	m.Close(100 * time.Millisecond)
	if took := time.Since(began); took > 2*time.Second || !strings.Contains(log.String(), "mails were not sent before the end") {
		t.Errorf("%v\n%s", took, log)
	}
}

// TestFifo: keepalived's lines, for a reader that comes late; a full pipe loses lines and says so; a file is left alone.
func TestFifo(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "notify"), filepath.Join(dir, "file")
	must(t, os.WriteFile(file, []byte("precious"), 0o600))
	troubles := map[string]error{}
	f := &fifos{trouble: func(k string, err error) { troubles[k] = err }}
	fifo := func(p string) config.Fifo { return config.Fifo{Path: config.Value[string]{V: p, Set: true}} }
	f.Configure(config.Global{NotifyFifo: fifo(path), VRRPNotifyFifo: fifo(file)})
	if err := troubles["notify_fifo "+file]; err == nil || !strings.Contains(err.Error(), "no named pipe") {
		t.Errorf("an ordinary file: %v", err)
	}
	f.Write(node.Notify{Kind: "INSTANCE", Name: "VI_1", State: "MASTER", Priority: 100})
	f.Write(node.Notify{Kind: "GROUP", Name: "G", State: "MASTER"})
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, 1<<20)
	n, err := unix.Read(fd, buf)
	if got := string(buf[:max(n, 0)]); err != nil || got != "INSTANCE \"VI_1\" MASTER 100\nGROUP \"G\" MASTER 0\n" {
		t.Errorf("%q %v", got, err)
	}
	for range 10000 {
		f.Write(node.Notify{Kind: "INSTANCE", Name: "VI_1", State: "BACKUP", Priority: 100})
	}
	if err := troubles["notify_fifo "+path]; err == nil || !strings.Contains(err.Error(), "nobody reads") {
		t.Errorf("a full pipe: %v", err)
	}
	if _, err := unix.Read(fd, buf); err != nil {
		t.Error(err)
	}
	f.Configure(config.Global{NotifyFifo: fifo(path)}) // the same goes on
	f.Write(node.Notify{Kind: "INSTANCE", Name: "VI_1", State: "FAULT", Priority: 100})
	if err := troubles["notify_fifo "+path]; err != nil {
		t.Errorf("read again: %v", err)
	}
	f.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the pipe is left behind: %v", err)
	}
	if readAll(file) != "precious" {
		t.Error("a file was written to")
	}
}

const mailConf = `global_defs {
    router_id LB
    notification_email {
        ops@example.com
        two@example.com
    }
    notification_email_from lb@example.com
    smtp_server 10.9.0.254 %[2]d
    smtp_alert_vrrp true
}
vrrp_track_file trouble {
    file %[1]s/trouble
}
vrrp_sync_group G {
    group {
        V1
        V2
    }
    smtp_alert
}
vrrp_instance V1 {
    interface eth0
    virtual_router_id %[3]d1
    version 3
    advert_int 0.2
    smtp_alert
    track_file {
        trouble weight 0
    }
    virtual_ipaddress {
        10.9.0.%[3]d1
    }
}
vrrp_instance V2 {
    interface eth0
    virtual_router_id %[3]d2
    version 3
    advert_int 0.2
    virtual_ipaddress {
        10.9.0.%[3]d2
    }
}
vrrp_instance V3 {
    interface eth0
    virtual_router_id %[3]d3
    version 3
    advert_int 0.2
    smtp_alert false
    virtual_ipaddress {
        10.9.0.%[3]d3
    }
}
`

// TestMailLikeKeepalived: a real keepalived and ours live through a start, a fault, its end and a stop, and send the same mails: as many, to
// the same people, with the same subject, headers and text.
func TestMailLikeKeepalived(t *testing.T) {
	testenv.Need(t, "keepalived")
	if !inNetns(t) {
		return
	}
	ipAdd(t, bridge(t), "10.9.0.254/24")
	open := func(n int) *mailSide {
		s := &mailSide{dir: t.TempDir(), smtp: newSMTP(t, "10.9.0.254:0", 0)}
		s.set(t, "0")
		must(t, os.WriteFile(filepath.Join(s.dir, "conf"), fmt.Appendf(nil, mailConf, s.dir, s.smtp.ln.Addr().(*net.TCPAddr).Port, n), 0o600))
		return s
	}
	ours, theirs := open(7), open(8)
	theirs.director = startKeepalived(t, "10.9.0.2/24", filepath.Join(theirs.dir, "conf"))
	ours.director = startDirector(t, "o", "10.9.0.1/24", filepath.Join(ours.dir, "conf"))
	both := []*mailSide{ours, theirs}
	told := func() string {
		return strings.Join(letters(ours.smtp), "\n") + "\n\n" + strings.Join(letters(theirs.smtp), "\n")
	}
	await := func(what string, subjects ...string) {
		t.Helper()
		for _, s := range both {
			eventually(t, 20*time.Second, func() bool {
				for _, want := range subjects {
					if !strings.Contains(strings.Join(letters(s.smtp), "\n"), want) {
						return false
					}
				}
				return true
			}, func() string { return what + "\n" + told() + "\n" + s.log.String() })
		}
	}
	await("start", "Instance V1 - Entering MASTER", "Instance V2 - Entering MASTER", "Group G - Entering MASTER")
	for _, s := range both {
		s.set(t, "1")
	}
	await("fault", "Instance V1 - Entering FAULT", "Group G - Entering FAULT")
	time.Sleep(500 * time.Millisecond)
	for _, s := range both {
		s.set(t, "0")
	}
	for k, s := range both {
		eventually(t, 20*time.Second, func() bool { return s.holds(fmt.Sprintf("10.9.0.%d1", 7+k)) }, func() string { return told() + s.log.String() })
	}
	time.Sleep(500 * time.Millisecond)
	for _, s := range both {
		must(t, s.cmd.Process.Signal(unix.SIGTERM))
		_ = s.cmd.Wait()
	}
	a, b := letters(ours.smtp), letters(theirs.smtp)
	slices.Sort(a)
	slices.Sort(b)
	if !slices.Equal(a, b) {
		t.Errorf("ours:\n%s\ntheirs:\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	t.Log(strings.Join(a, "\n"))
}

// mailSide is a daemon with a mail server of its own and a file that makes it faulty.
type mailSide struct {
	*director
	dir  string
	smtp *smtpServer
}

func (s *mailSide) set(t *testing.T, value string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(s.dir, "trouble"), []byte(value+"\n"), 0o600))
}

// letters are the mails a server took: who gets them, the headers both daemons have to write, the text.
func letters(s *smtpServer) (out []string) {
	for _, session := range s.all() {
		var parts []string
		for line := range strings.Lines(session) {
			line = strings.TrimSpace(line)
			name, _, header := strings.Cut(line, ":")
			switch {
			case strings.HasPrefix(line, "=>"):
			case header && slices.Contains([]string{"MAIL FROM", "RCPT TO", "From", "To", "Subject", "X-Mailer"}, name):
			default:
				continue
			}
			if name == "From" || name == "To" {
				line = strings.NewReplacer("<", "", ">", "").Replace(line) // both forms are right, RFC 5322 3.4
			}
			parts = append(parts, line)
		}
		slices.Sort(parts)
		out = append(out, strings.Join(parts, " | "))
	}
	return out
}

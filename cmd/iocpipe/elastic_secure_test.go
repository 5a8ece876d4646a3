package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iocpipe/sinks/elastic"
	"iocpipe/sinks/elastic/elastictest"
)

// A secured is a node with users and roles, as its administrator sees it.
type secured struct {
	*elastic.Client
	t    *testing.T
	url  string
	args []string // of a filter that writes there by the right authority
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	url, ca := elastictest.Node(t, elastictest.Secure), filepath.Join(elastictest.Certificates(), "ca.pem")
	client, err := elastic.New(elastic.Config{URLs: []string{url}, CA: ca, User: "admin", Password: elastic.Secret{Value: "admin"}})
	if err != nil {
		t.Fatal(err)
	}
	return &secured{client, t, url, []string{"--to", "elasticsearch", "--es-url", url, "--es-ca", ca}}
}

// must sends a request that is to succeed.
func (n *secured) must(method, path, body string) (answer map[string]any) {
	n.t.Helper()
	var b []byte
	if body != "" {
		b = []byte(body)
	}
	response, err := n.Do(n.t.Context(), method, path, nil, b)
	if err == nil {
		err = response.Err()
	}
	if err == nil && len(response.Body) > 0 {
		err = json.Unmarshal(response.Body, &answer)
	}
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer
}

// grant gives the user shipper a password, and these rights on indices, and no more.
func (n *secured) grant(password string, rights ...string) {
	n.t.Helper()
	role, err := json.Marshal(map[string]any{"cluster_permissions": []string{"indices:data/write/bulk"}, "index_permissions": []any{
		map[string]any{"index_patterns": []string{"secure-*", "logs-iocpipe.*"}, "allowed_actions": rights}}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.must(http.MethodPut, "/_plugins/_security/api/roles/shipper", string(role))
	n.must(http.MethodPut, "/_plugins/_security/api/internalusers/shipper", `{"password":"`+password+`"}`)
	n.must(http.MethodPut, "/_plugins/_security/api/rolesmapping/shipper", `{"users":["shipper"]}`)
}

// count returns how many documents there are.
func (n *secured) count(target string) int {
	n.t.Helper()
	if response, err := n.Do(n.t.Context(), http.MethodPost, "/"+target+"/_refresh", nil, nil); err != nil || response.Err() != nil {
		return 0
	}
	count, _ := n.must(http.MethodGet, "/"+target+"/_count", "")["count"].(float64)
	return int(count)
}

// shipping are the least rights with which OpenSearch lets one write new documents.
var shipping = []string{"indices:data/write/index", "indices:data/write/bulk*", "indices:admin/create", "indices:admin/mapping/put"}

const goodPassword, newPassword = "correct-Horse.7-battery", "Staple!8-correct-horse"

// TestElasticSecure writes over TLS, as a user who may only create documents: by password, and by client certificate.
func TestElasticSecure(t *testing.T) {
	n := newSecured(t)
	n.grant(goodPassword, shipping...)
	n.must(http.MethodPut, "/_index_template/secure", `{"index_patterns":["secure-stream*"],"data_stream":{}}`)
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, goodPassword+"\n")
	certs := elastictest.Certificates()
	byPassword := append(n.args, "--es-user", "shipper", "--es-password-file", password)
	byCertificate := append(n.args, "--es-cert", filepath.Join(certs, "shipper.pem"), "--es-key", filepath.Join(certs, "shipper.key"))

	run := fmt.Sprint(os.Getpid())
	for target, as := range map[string][]string{"secure-index-p" + run: byPassword, "secure-stream-p" + run: byPassword, "secure-index-c" + run: byCertificate} {
		_, stderr := iocpipe(t, 0, lines(0, 500), append(as, "--intel", list(t, address(7)), "--state", t.TempDir(), "--es-index", target)...)
		if got := n.count(target); got != 500 || strings.Count(stderr, "its mapping cannot be read") != 1 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: %d documents; it says %s", target, got, stderr)
		}
	}
	bad, hits := list(t, "203.0.113.1"), n.count("logs-iocpipe.hits-default")
	p := start(t, append(byPassword, "--intel", bad, "--state", t.TempDir(), "--es-index", "secure-index-late"+run)...)
	p.say("%s", flow("web-1", "203.0.113.9"))
	p.until("the document", func() bool { return n.count("secure-index-late"+run) == 1 })
	writeList(t, bad, "203.0.113.1", "203.0.113.9")
	p.until("a hit", func() bool { return n.count("logs-iocpipe.hits-default") == hits+1 })
	p.end(0)

	for what, c := range map[string]struct {
		as    []string
		wants string
	}{
		"a wrong password": {append(n.args, "--es-user", "admin", "--es-password-file", password), "401"},
		"nobody":           {n.args, "401"},
		"another authority": {[]string{"--to", "elasticsearch", "--es-url", n.url, "--es-user", "shipper", "--es-password-file", password, "--es-give-up", "2s"},
			"certificate signed by unknown authority"},
	} {
		letters := filepath.Join(t.TempDir(), "letters")
		_, stderr := iocpipe(t, 1, lines(0, 10), append(c.as, "--intel", bad, "--state", "none", "--es-index", "secure-index-x", "--dead-letter", letters)...)
		if kept := len(readLetters(t, letters)); kept != 10 || !strings.Contains(stderr, c.wants) {
			t.Errorf("%s: %d letters; it says %s", what, kept, stderr)
		}
	}
}

// TestElasticSecureLoses takes rights and password from a user while events flow: what is refused for lack of rights are dead
// letters, which can be sent again; a new password is taken from its file.
func TestElasticSecureLoses(t *testing.T) {
	n, dir := newSecured(t), t.TempDir()
	n.grant(goodPassword, shipping...)
	password, letters, target := filepath.Join(dir, "password"), filepath.Join(dir, "letters"), fmt.Sprintf("secure-lost-%d", os.Getpid())
	writeFile(t, password, goodPassword+"\n")
	as := append(n.args, "--es-user", "shipper", "--es-password-file", password)
	p := start(t, append(as, "--intel", list(t, address(7)), "--state", "none", "--es-index", target, "--dead-letter", letters)...)
	say := func(what string, first, n int, done func() bool) {
		p.t.Helper()
		p.say("%s", strings.TrimSuffix(lines(first, n), "\n"))
		p.until(what, done)
	}
	say("documents", 0, 100, func() bool { return n.count(target) == 100 })
	n.grant(goodPassword, "indices:admin/get")
	say("dead letters", 100, 100, func() bool { _, err := os.Stat(letters); return err == nil && len(readLetters(t, letters)) == 100 })
	n.grant(newPassword, shipping...)
	replaceFile(t, password, newPassword+"\n")
	say("documents again", 200, 100, func() bool { return n.count(target) == 200 })
	p.end(0)
	if !strings.Contains(p.err.String(), "refuses documents") || !strings.Contains(p.err.String(), "no permissions for") {
		t.Errorf("it says %s", &p.err)
	}
	iocpipe(t, 0, "", append([]string{"replay", letters}, as[2:]...)...)
	if got := n.count(target); got != 300 {
		t.Errorf("%d documents in the end", got)
	}
}

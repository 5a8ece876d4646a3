package feed

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iocpipe/lookup/lookuptest"
)

func TestProxy(t *testing.T) {
	asked := ""
	proxy := lookuptest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		_, _ = io.WriteString(w, list(3))
	}))
	w := newWorld(t)
	w.opt.Proxy = proxy.URL
	f := ofURL("f", "http://lists.example/a.txt")
	f.InsecureHTTP = true
	w.add(f)
	if r := w.update(w.opt)["f"]; r.Outcome != Updated || asked != f.From {
		t.Errorf("%+v, the proxy was asked for %q", r, asked)
	}
	w.opt.Proxy = "proxy.example:3128"
	if _, err := Update(t.Context(), w.path, w.opt); err == nil || !strings.Contains(err.Error(), "proxy: not of the form") {
		t.Error(err)
	}
}

func TestCertificates(t *testing.T) {
	server := httptest.NewTLSServer(answer(200, list(3)))
	t.Cleanup(server.Close)
	server.Config.ErrorLog = nil
	w := newWorld(t)
	w.add(ofURL("f", server.URL))
	if r := w.update(w.opt)["f"]; r.Outcome != Failed || !strings.Contains(r.Err.Error(), "certificate") {
		t.Errorf("a certificate that nobody knows: %+v", r)
	}
	w.opt.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if _, err := Update(t.Context(), w.path, w.opt); err == nil || !strings.Contains(err.Error(), "CA file: open") {
		t.Error(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(w.opt.CAFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.update(forced(w.opt))["f"]; r.Outcome != Updated {
		t.Errorf("with --ca: %+v", r)
	}
}

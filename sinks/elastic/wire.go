package elastic

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A wire is the transport under the client: it adds what is secret to requests, trusts whom the configuration trusts, and
// follows both when their files change.
type wire struct {
	config  *Config
	product atomic.Bool // the server is OpenSearch, which does not say that it is the product that the client wants

	mu        sync.Mutex // held while files are read
	ca        []byte
	transport atomic.Pointer[http.Transport]
	auth      atomic.Pointer[string]
}

// RoundTrip sends a request.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if auth := *w.auth.Load(); auth != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", auth)
	}
	res, err := w.transport.Load().RoundTrip(req)
	if err == nil && w.product.Load() {
		res.Header.Set(productHeader, productName)
	}
	return res, err
}

// load reads secrets and certificates for the first time.
func (w *wire) load() error {
	_, err := w.reload()
	return err
}

// reload reads secrets and certificates again, and reports whether anything has changed.
func (w *wire) reload() (changed bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	auth, err := w.config.authorization()
	if err != nil {
		return false, err
	}
	if old := w.auth.Load(); old == nil || *old != auth {
		w.auth.Store(&auth)
		changed = true
	}
	var ca []byte
	if w.config.CA != "" {
		if ca, err = os.ReadFile(w.config.CA); err != nil {
			return changed, fmt.Errorf("CA: %w", err)
		}
	}
	old := w.transport.Load()
	if old != nil && bytes.Equal(ca, w.ca) {
		return changed, nil
	}
	transport, err := w.newTransport(ca)
	if err != nil {
		return changed, err
	}
	w.ca = ca
	w.transport.Store(transport)
	if old != nil {
		old.CloseIdleConnections()
	}
	return true, nil
}

func (w *wire) newTransport(ca []byte) (*http.Transport, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: w.config.Insecure}
	if len(ca) > 0 { // and nobody else, as clients of Elasticsearch have it: a cluster's own authority is named to be the only one
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("CA: %s holds no certificate in PEM", w.config.CA)
		}
	}
	if w.config.Cert != "" || w.config.Key != "" {
		if _, err := w.clientCertificate(nil); err != nil {
			return nil, err
		}
		secure.GetClientCertificate = w.clientCertificate // with each connection, so that a new file counts
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     secure,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
	}, nil
}

func (w *wire) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(w.config.Cert, w.config.Key)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	return &pair, nil
}

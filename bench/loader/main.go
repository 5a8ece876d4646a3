// Command loader is what bench/index-speed.sh compares iocpipe with: it posts prepared bodies of the bulk API, some at a
// time, and looks at nothing but the status. With -record it is the server that bodies are recorded from.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

func main() {
	url := flag.String("url", "", "`URL` of the node to post to")
	inFlight := flag.Int("in-flight", 4, "requests at a time; iocpipe has at most 4")
	record := flag.String("record", "", "`FOLDER` to record bodies to, instead of posting them; - keeps nothing and says yes to all")
	listen := flag.String("listen", "127.0.0.1:0", "`ADDRESS` to record at")
	address := flag.String("address", "", "`FILE` that is told the URL to record at")
	flag.Parse()
	var err error
	if *record != "" {
		err = serve(*listen, *address, *record)
	} else {
		err = post(*url, *inFlight, flag.Arg(0))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// post sends all bodies of a folder, which are compressed.
func post(url string, inFlight int, folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.gz"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s: no bodies: %v", folder, err)
	}
	bodies := make(chan []byte, inFlight)
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for body := range bodies {
				if err := postOne(url, body); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		bodies <- body
	}
	close(bodies)
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func postOne(url string, body []byte) error {
	req, err := http.NewRequest(http.MethodPost, url+"/_bulk", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Content-Encoding", "gzip")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", res.Status)
	}
	return nil
}

// yes is the result of one item, as a server writes it, and yesAlone without what filter_path leaves out.
const (
	yes = `{"create":{"_index":"bench","_id":"vbQkUJ0BhM2u9Zb0VqX3","_version":1,"result":"created",` +
		`"_shards":{"total":1,"successful":1,"failed":0},"_seq_no":1234567,"_primary_term":1,"status":201}},`
	yesAlone = `{"create":{"_index":"bench","status":201}},`
)

// serve keeps the bodies of bulk requests in a folder, unless that is -, and answers that all was indexed.
func serve(listen, address, folder string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	if err := os.WriteFile(address, []byte("http://"+l.Addr().String()), 0o600); err != nil {
		return err
	}
	var number atomic.Int64
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		w.Header().Set("Content-Type", "application/json")
		body, err := io.ReadAll(r.Body)
		if err != nil || !strings.HasSuffix(r.URL.Path, "/_bulk") {
			w.WriteHeader(http.StatusForbidden) // nobody may read mappings here
			fmt.Fprint(w, "{}")
			return
		}
		items, err := keep(folder, number.Add(1), r.Header.Get("Content-Encoding"), body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		item := yes
		if r.URL.Query().Has("filter_path") {
			item = yesAlone
		}
		answer := `{"errors":false,"items":[` + strings.TrimSuffix(strings.Repeat(item, items), ",") + "]}"
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		io.WriteString(w, answer)
	}))
}

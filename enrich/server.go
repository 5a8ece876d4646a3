package enrich

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"iocpipe/httpclient"
	"iocpipe/sinks/elastic"
)

const (
	firstPause, maxPause = 500 * time.Millisecond, time.Minute

	// floodPause is the time between looks whether a full disk has room again.
	floodPause = 30 * time.Second
)

// A server is a Server that may be busy for a while.
type server struct {
	Server
	patience time.Duration
}

// do sends a request until the server takes it, or its patience is over. An error of the server's is an [*elastic.Error].
func (s *server) do(ctx context.Context, method, path string, query url.Values, body []byte) ([]byte, error) {
	since := time.Now()
	for try := 0; ; try++ {
		answer, err := s.Do(ctx, method, path, query, body)
		var after time.Duration
		if err == nil {
			if err = answer.Err(); err == nil {
				return answer.Body, nil
			}
			after = retryAfter(answer.Header)
		}
		if !passes(err) || ctx.Err() != nil {
			return nil, err
		}
		if time.Since(since) > s.patience {
			return nil, fmt.Errorf("the server was waited for for %s: %w", s.patience, err)
		}
		if err := sleep(ctx, cmp.Or(after, backoff(try))); err != nil {
			return nil, err
		}
	}
}

// passes reports whether a request that ended with err may succeed later.
func passes(err error) bool {
	var answer *elastic.Error
	switch {
	case errors.Is(err, elastic.ErrUnknownServer):
		return false
	case errors.As(err, &answer):
		return isBusy(answer.Status)
	}
	return true // the network, or half an answer
}

func isBusy(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryAfter returns how long a server wants to be left alone.
func retryAfter(h http.Header) time.Duration {
	return httpclient.RetryAfter(h, time.Now(), 10*maxPause)
}

// backoff returns a random part of a time that doubles with each try (full jitter).
func backoff(try int) time.Duration {
	return 1 + rand.N(min(firstPause<<min(try, 10), maxPause))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// statusOf returns the status of an error that is an answer, or 0.
func statusOf(err error) int {
	var answer *elastic.Error
	if errors.As(err, &answer) {
		return answer.Status
	}
	return 0
}

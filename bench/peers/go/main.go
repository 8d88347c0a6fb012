// The peer in Go: net/http and franz-go, as one usually writes it. What it does and is told: bench/peers/__init__.py.
package main

import (
	"crypto/subtle"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	token, prefix := []byte(os.Getenv("TOKEN")), os.Getenv("TOPIC_PREFIX")
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("BOOTSTRAP")),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("GET /{event}", func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Aurora-Webhook-Token")), token) != 1 {
			http.Error(w, `{"error":"unauthorized"}`, http.StatusUnauthorized)
			return
		}
		data, key := map[string]string{}, ""
		for name, values := range r.URL.Query() {
			data[name] = values[0]
			if key == "" && strings.HasSuffix(name, "_id") {
				key = values[0]
			}
		}
		event := r.PathValue("event")
		value, err := json.Marshal(map[string]any{"event": event, "data": data, "time": time.Now().UTC()})
		if err == nil {
			record := &kgo.Record{Topic: prefix + event, Key: []byte(key), Value: value}
			err = client.ProduceSync(r.Context(), record).FirstErr()
		}
		if err != nil {
			http.Error(w, `{"error":"kafka"}`, http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"ok":true}`))
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

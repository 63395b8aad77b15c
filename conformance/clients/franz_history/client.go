// franz-go, writing its history. See events.py in the folder above.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	transactionSize = 8
	abortedEach     = 5
	clockMonotonic  = 1
)

var (
	printing sync.Mutex
	ended    atomic.Bool
	topic    string
)

func tell(kind string, fields ...any) {
	// Go's own monotonic time begins with the process.
	var now syscall.Timespec
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&now)), 0)
	words := []string{kind, strconv.FormatInt(now.Nano(), 10)}
	for _, field := range fields {
		words = append(words, strings.NewReplacer("\t", " ", "\n", " ").Replace(fmt.Sprint(field)))
	}
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(strings.Join(words, "\t"))
}

func open(options ...kgo.Opt) *kgo.Client {
	all := append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(os.Getenv("BOOTSTRAP"), ",")...), kgo.MetadataMaxAge(5 * time.Second),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		// KafkaJS reads no Snappy.
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	}, options...)
	made, err := kgo.NewClient(all...)
	if err != nil {
		panic(err)
	}
	return made
}

// Whether a record was refused since it was asked last.
var refused atomic.Bool

func send(client *kgo.Client, partition int, value, transaction string) {
	tell("send", partition, value, transaction)
	record := &kgo.Record{Topic: topic, Partition: int32(partition), Value: []byte(value)}
	client.Produce(context.Background(), record, func(record *kgo.Record, err error) {
		if err != nil {
			refused.Store(true)
			tell("error", partition, value, err)
		} else {
			tell("ack", partition, value, record.Offset)
		}
	})
}

func pause(rate float64) bool {
	time.Sleep(time.Duration(float64(time.Second) / rate))
	return !ended.Load()
}

func produce(partitions int, name string, rate float64) {
	client := open(kgo.ProducerLinger(5*time.Millisecond), kgo.RecordDeliveryTimeout(120*time.Second), kgo.MaxBufferedRecords(100000))
	for number := 0; pause(rate); number++ {
		send(client, number%partitions, fmt.Sprintf("%s-%d", name, number), "-")
	}
	_ = client.Flush(context.Background())
	client.Close()
}

func transact(partitions int, name string, rate float64) {
	client := open(kgo.TransactionalID(name), kgo.TransactionTimeout(30*time.Second))
	for count := 0; pause(rate / transactionSize); count++ {
		transaction := fmt.Sprintf("%s-t%d", name, count)
		if err := client.BeginTransaction(); err != nil {
			tell("trouble", transaction, err)
			client.Close()
			client = open(kgo.TransactionalID(name), kgo.TransactionTimeout(30*time.Second))
			continue
		}
		for number := count * transactionSize; number < (count+1)*transactionSize; number++ {
			send(client, number%partitions, fmt.Sprintf("%s-%d", name, number), transaction)
		}
		how, word := kgo.TryCommit, "committed"
		if err := client.Flush(context.Background()); err != nil || refused.Swap(false) || count%abortedEach == abortedEach-1 {
			how, word = kgo.TryAbort, "aborted"
		}
		tell("ending", transaction)
		if err := client.EndTransaction(context.Background(), how); err != nil {
			tell("trouble", transaction, err)
			word = "unknown"
		}
		tell("ended", transaction, word)
		if word == "unknown" {
			client.Close()
			client = open(kgo.TransactionalID(name), kgo.TransactionTimeout(30*time.Second))
		}
	}
	client.Close()
}

func consume(group, isolation string) {
	numbers := func(parts map[string][]int32) string {
		var words []string
		for _, number := range parts[topic] {
			words = append(words, strconv.Itoa(int(number)))
		}
		return strings.Join(words, ",")
	}
	client := open(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.AutoCommitInterval(500*time.Millisecond), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(time.Second), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { tell("assigned", numbers(parts)) }),
		kgo.OnPartitionsRevoked(func(context.Context, *kgo.Client, map[string][]int32) { tell("assigned", "") }),
		kgo.OnPartitionsLost(func(context.Context, *kgo.Client, map[string][]int32) { tell("assigned", "") }))
	for !ended.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		fetches := client.PollFetches(ctx)
		cancel()
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				tell("trouble", group, err)
			}
		})
		fetches.EachRecord(func(record *kgo.Record) { tell("poll", record.Partition, record.Offset, string(record.Value)) })
		client.AllowRebalance()
	}
	client.Close()
}

func main() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		ended.Store(true)
	}()
	phase := os.Args[1]
	topic = os.Args[2]
	if phase == "consume" {
		consume(os.Args[3], os.Args[5])
		return
	}
	partitions, _ := strconv.Atoi(os.Args[3])
	rate, _ := strconv.ParseFloat(os.Args[5], 64)
	if phase == "produce" {
		produce(partitions, os.Args[4], rate)
	} else {
		transact(partitions, os.Args[4], rate)
	}
}

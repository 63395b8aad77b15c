// Sarama, writing its history. See events.py in the folder above.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/IBM/sarama"
)

const clockMonotonic = 1

var (
	printing sync.Mutex
	ended    = make(chan struct{})
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

func settings() *sarama.Config {
	made := sarama.NewConfig()
	made.Version = sarama.V2_8_0_0
	made.Metadata.Retry.Max = 200
	made.Metadata.Retry.Backoff = 200 * time.Millisecond
	made.Metadata.RefreshFrequency = 5 * time.Second
	made.Producer.Idempotent = true
	made.Producer.RequiredAcks = sarama.WaitForAll
	made.Producer.Retry.Max = 500
	made.Producer.Retry.Backoff = 100 * time.Millisecond
	made.Producer.Return.Successes = true
	made.Producer.Return.Errors = true
	made.Producer.Partitioner = sarama.NewManualPartitioner
	made.Producer.Flush.Frequency = 5 * time.Millisecond
	// What its idempotent producer demands.
	made.Net.MaxOpenRequests = 1
	made.Consumer.Offsets.Initial = sarama.OffsetOldest
	made.Consumer.Offsets.AutoCommit.Interval = 500 * time.Millisecond
	made.Consumer.IsolationLevel = sarama.ReadCommitted
	made.Consumer.MaxWaitTime = 100 * time.Millisecond
	made.Consumer.Group.Session.Timeout = 10 * time.Second
	made.Consumer.Group.Heartbeat.Interval = time.Second
	return made
}

func servers() []string {
	return strings.Split(os.Getenv("BOOTSTRAP"), ",")
}

func produce(partitions int, name string, rate float64) {
	producer, err := sarama.NewAsyncProducer(servers(), settings())
	if err != nil {
		panic(err)
	}
	var told sync.WaitGroup
	told.Add(2)
	go func() {
		defer told.Done()
		for message := range producer.Successes() {
			tell("ack", message.Partition, message.Metadata, message.Offset)
		}
	}()
	go func() {
		defer told.Done()
		for failed := range producer.Errors() {
			tell("error", failed.Msg.Partition, failed.Msg.Metadata, failed.Err)
		}
	}()
	pace := time.NewTicker(time.Duration(float64(time.Second) / rate))
	for number := 0; ; number++ {
		select {
		case <-ended:
			producer.AsyncClose()
			told.Wait()
			return
		case <-pace.C:
			value := fmt.Sprintf("%s-%d", name, number)
			tell("send", number%partitions, value, "-")
			producer.Input() <- &sarama.ProducerMessage{
				Topic: topic, Partition: int32(number % partitions), Value: sarama.StringEncoder(value), Metadata: value,
			}
		}
	}
}

type member struct{}

func (member) Setup(session sarama.ConsumerGroupSession) error {
	tell("assigned", strings.Trim(strings.Join(strings.Fields(fmt.Sprint(session.Claims()[topic])), ","), "[]"))
	return nil
}

func (member) Cleanup(sarama.ConsumerGroupSession) error {
	tell("assigned", "")
	return nil
}

func (member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			tell("poll", message.Partition, message.Offset, string(message.Value))
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func consume(group string) {
	reader, err := sarama.NewConsumerGroup(servers(), group, settings())
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-ended
		cancel()
	}()
	for ctx.Err() == nil {
		if err := reader.Consume(ctx, []string{topic}, member{}); err != nil && ctx.Err() == nil {
			tell("trouble", group, err)
			time.Sleep(200 * time.Millisecond)
		}
	}
	_ = reader.Close()
}

func main() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	phase := os.Args[1]
	topic = os.Args[2]
	if phase == "consume" {
		consume(os.Args[3])
		return
	}
	partitions, _ := strconv.Atoi(os.Args[3])
	rate, _ := strconv.ParseFloat(os.Args[5], 64)
	produce(partitions, os.Args[4], rate)
}

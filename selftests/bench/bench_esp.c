// SPDX-License-Identifier: BSD-2-Clause
/*
 * P1: what ESP costs above the crypto itself. Nanoseconds per packet of esp_encap() and esp_decap()
 * against the same engine's bare seal() and open() on the same lengths, on frames that rotate
 * through a UMEM-sized memory. The arms are interleaved and their order is reversed every other
 * round; medians are shown, with the spread of the difference.
 *
 * bench_esp [ROUNDS]
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/bytes.h"
#include "lib/checksum.h"
#include "lib/esp.h"

#define FRAMES	   4096
#define FRAME_SIZE 2048
#define HEAD	   128
#define PASSES	   4		/* through all frames, per arm and round */
#define ROUNDS_MAX 101

enum arm { ARM_BARE_SEAL, ARM_ENCAP, ARM_BARE_OPEN, ARM_DECAP, ARM_COUNT };

struct bench {
	struct sa_state out_state, in_state;
	struct sa_runtime out, in;
	uint8_t *umem;
	uint32_t ip_len;
	struct packet packets[FRAMES];
	struct crypto_op ops[FRAMES];
	uint8_t aad[FRAMES][12];
	double ns[ARM_COUNT][ROUNDS_MAX];
	uint64_t failed;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void make_packet(struct bench *bench, unsigned int i)
{
	struct packet *packet = &bench->packets[i];
	uint8_t *ip;

	*packet = (struct packet){ .data = bench->umem + (size_t)i * FRAME_SIZE + HEAD,
				   .len = 14 + bench->ip_len, .l2_len = 14, .headroom = HEAD,
				   .state = PACKET_CLEAR };
	packet->tailroom = (uint16_t)(FRAME_SIZE - HEAD - packet->len);
	memset(packet->data, 0, packet->len);
	store_be16(packet->data + 12, 0x0800);
	ip = packet->data + 14;
	ip[0] = 0x45;
	store_be16(ip + 2, (uint16_t)bench->ip_len);
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	memcpy(ip + 12, bench->out.src.b, 4);
	memcpy(ip + 16, bench->out.dst.b, 4);
	checksum_ipv4(ip, 20);
}

/* The same work as ESP hands to the engine, with nothing around it. */
static void make_op(struct bench *bench, unsigned int i)
{
	const struct esp_suite *suite = bench->out.suite;
	uint32_t align = suite->block > 4 ? suite->block : 4;
	uint32_t carried = bench->out.tunnel ? bench->ip_len : bench->ip_len - 20;
	uint32_t len = (carried + 2 + align - 1) / align * align;
	uint8_t *esp = bench->umem + (size_t)i * FRAME_SIZE + HEAD + 34 - 8 - suite->iv_len;

	bench->ops[i] = (struct crypto_op){ .data = esp + 8 + suite->iv_len, .len = len,
					    .aad = bench->aad[i], .aad_len = 12, .iv = esp + 8,
					    .auth = esp, .auth_len = 8 + suite->iv_len + len,
					    .esn_hi_len = 4, .icv = esp + 8 + suite->iv_len + len };
}

static void arm_burst(struct bench *bench, enum arm arm, unsigned int from)
{
	struct packet *burst[BURST];

	switch (arm) {
	case ARM_BARE_SEAL:
		bench->out.engine->seal(bench->out.key, bench->ops + from, BURST);
		return;
	case ARM_BARE_OPEN:
		bench->in.engine->open(bench->in.key, bench->ops + from, BURST);
		return;
	case ARM_ENCAP:
	case ARM_DECAP:
	default:
		break;
	}
	for (unsigned int i = 0; i < BURST; i++)
		burst[i] = &bench->packets[from + i];
	if (arm == ARM_ENCAP)
		esp_encap(&bench->out, burst, BURST);
	else
		esp_decap(&bench->in, burst, BURST);
}

static double time_arm(struct bench *bench, enum arm arm)
{
	uint64_t start = now_ns();

	for (unsigned int from = 0; from < FRAMES; from += BURST)
		arm_burst(bench, arm, from);
	return (double)(now_ns() - start) / FRAMES;
}

/* Seal and open, or encapsulate and decapsulate, all frames once; the packets survive. */
static void pass(struct bench *bench, enum arm first, unsigned int round, double weight)
{
	bool esp = first == ARM_ENCAP;
	enum arm second = esp ? ARM_DECAP : ARM_BARE_OPEN;

	for (unsigned int i = 0; i < FRAMES; i++) {
		if (esp)
			make_packet(bench, i);
		else
			make_op(bench, i);
	}
	bench->ns[first][round] += time_arm(bench, first) * weight;
	bench->ns[second][round] += time_arm(bench, second) * weight;
	for (unsigned int i = 0; i < FRAMES; i++)
		if (esp ? bench->packets[i].state != PACKET_VERIFIED : bench->ops[i].err != 0)
			bench->failed++;
}

static void run_round(struct bench *bench, unsigned int round)
{
	for (unsigned int arm = 0; arm < ARM_COUNT; arm++)
		bench->ns[arm][round] = 0;
	for (unsigned int i = 0; i < PASSES; i++) {
		bool reversed = (round + i) & 1;

		pass(bench, reversed ? ARM_ENCAP : ARM_BARE_SEAL, round, 1.0 / PASSES);
		pass(bench, reversed ? ARM_BARE_SEAL : ARM_ENCAP, round, 1.0 / PASSES);
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void sort(double *values, unsigned int count)
{
	qsort(values, count, sizeof(*values), by_value);
}

static void report_pair(struct bench *bench, enum arm bare, enum arm esp, unsigned int rounds)
{
	double diff[ROUNDS_MAX], ratio[ROUNDS_MAX];

	for (unsigned int i = 0; i < rounds; i++) {
		diff[i] = bench->ns[esp][i] - bench->ns[bare][i];
		ratio[i] = bench->ns[esp][i] / bench->ns[bare][i];
	}
	sort(diff, rounds);
	sort(ratio, rounds);
	sort(bench->ns[bare], rounds);
	sort(bench->ns[esp], rounds);
	printf(" %7.1f %7.1f %7.1f %6.1f..%-6.1f %5.2f", bench->ns[bare][rounds / 2],
	       bench->ns[esp][rounds / 2], diff[rounds / 2], diff[0], diff[rounds - 1],
	       ratio[rounds / 2]);
}

static int bench_init(struct bench *bench, const struct esp_suite *suite, const char *engine,
		      bool tunnel)
{
	struct sa_config config = { .src = { .b = { 10, 9, 0, 1 } }, .dst = { .b = { 10, 9, 0, 2 } },
				    .spi = htobe32(0x1001), .proto = IPPROTO_ESP,
				    .direction = SPD_OUT, .tunnel = tunnel, .esn = true,
				    .replay_window = 1024, .suite = (uint16_t)suite_index(suite) };
	int err;

	memset(config.key, 1, sizeof(config.key));
	memset(config.mac_key, 2, sizeof(config.mac_key));
	bench->out_state = (struct sa_state){ .seq_next = 1, .seq_reserved = UINT64_MAX };
	bench->in_state = (struct sa_state){ 0 };
	err = sa_runtime_init(&bench->out, &config, &bench->out_state, engine);
	if (err)
		return err;
	config.direction = SPD_IN;
	return sa_runtime_init(&bench->in, &config, &bench->in_state, engine);
}

static void bench_suite(struct bench *bench, const struct esp_suite *suite,
			const struct crypto_engine *engine, unsigned int rounds)
{
	static const uint32_t lengths[] = { 64, 512, 1408 };

	for (int tunnel = 0; tunnel < 2; tunnel++)
		for (unsigned int i = 0; i < 3; i++) {
			bench->ip_len = lengths[i];
			if (bench_init(bench, suite, engine->name, tunnel)) {
				fprintf(stderr, "%s: cannot key %s\n", engine->name, suite->name);
				exit(EXIT_FAILURE);
			}
			run_round(bench, 0);	/* warm-up */
			for (unsigned int round = 0; round < rounds; round++)
				run_round(bench, round);
			printf("%-9s %-16s %-9s %5u", engine->name, suite->name,
			       tunnel ? "tunnel" : "transport", lengths[i]);
			report_pair(bench, ARM_BARE_SEAL, ARM_ENCAP, rounds);
			printf(" |");
			report_pair(bench, ARM_BARE_OPEN, ARM_DECAP, rounds);
			printf("\n");
			sa_runtime_fini(&bench->out);
			sa_runtime_fini(&bench->in);
		}
}

int main(int argc, char **argv)
{
	unsigned int rounds = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : 11;
	static const char *const suites[] = { "aes128gcm16", "chacha20poly1305", "aes128-sha256",
					      "null-sha256" };
	struct bench *bench = calloc(1, sizeof(*bench));
	const struct crypto_engine *engine;

	if (!bench || rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: bench_esp [ROUNDS]  (1 to %d)\n", ROUNDS_MAX);
		return 2;
	}
	bench->umem = aligned_alloc(4096, (size_t)FRAMES * FRAME_SIZE);
	if (!bench->umem)
		return EXIT_FAILURE;
	memset(bench->umem, 0, (size_t)FRAMES * FRAME_SIZE);
	printf("ns per packet, medians of %u rounds; inner IPv4 packets of LEN octets\n", rounds);
	printf("%-42s %-45s | %s\n", "", "  encapsulate", "  decapsulate");
	printf("%-9s %-16s %-9s %5s %7s %7s %7s %14s %5s | %7s %7s %7s %14s %5s\n", "engine",
	       "suite", "mode", "LEN", "bare", "esp", "above", "min..max", "ratio", "bare", "esp",
	       "above", "min..max", "ratio");
	for (unsigned int e = 0; (engine = crypto_engine_at(e)); e++)
		for (unsigned int s = 0; s < sizeof(suites) / sizeof(suites[0]); s++)
			if (engine->supports(suite_find(suites[s])))
				bench_suite(bench, suite_find(suites[s]), engine, rounds);
	if (bench->failed)
		printf("void: %llu packets failed\n", (unsigned long long)bench->failed);
	free(bench->umem);
	return bench->failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

// SPDX-License-Identifier: BSD-2-Clause
/*
 * Policies change while packets flow. Every policy here lets the packet pass, each by another rule of
 * another length of table, so a packet that is dropped has seen half of one and half of another.
 *
 * Prints what was dropped, and as its last line "N passed, N failed" (changes of policy).
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datapath.h"
#include "lib/bytes.h"
#include "lib/rule_stats.h"
#include "lib/stats.h"

#define FLIPS 60
#define BURST 2000

static int apply_numbered(struct datapath *datapath, unsigned int number)
{
	struct policy *policy;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	int err = -EINVAL;

	if (!out)
		return -ENOMEM;
	fputs("{\"version\":1,\"bypass_essential\":[],\"defaults\":{\"in\":\"discard\","
	      "\"out\":\"discard\",\"non_ip\":\"discard\"},\"rules\":[", out);
	for (unsigned int i = 0; i < number % 7; i++)
		fprintf(out, "{\"name\":\"%u\",\"remote\":\"10.1.%u.%u\",\"action\":\"discard\"},", i,
			number, i);
	fputs("{\"name\":\"b\",\"remote\":\"10.9.0.2\",\"action\":\"bypass\"}]}", out);
	fclose(out);
	policy = policy_parse(text, len, "numbered", NULL);
	if (policy)
		err = datapath_apply(datapath, policy, 0);
	policy_free(policy);
	free(text);
	return err;
}

/* Shoots until the parent closes its end. */
static int send_packets(const struct datapath *datapath, int stop)
{
	struct pollfd closed = { .fd = stop };
	uint8_t data[ETH_HLEN + sizeof(struct iphdr) + 8] = { 0 };
	struct iphdr ip = {
		.version = 4, .ihl = 5, .ttl = 64, .protocol = 47,
		.tot_len = htobe16(sizeof(ip) + 8),
		.saddr = htobe32(0x0a090002), .daddr = htobe32(0x0a090001),
	};
	struct shot shot = { .data = data, .len = sizeof(data), .repeat = BURST };
	int err = 0;

	store_be16(data + 2 * ETH_ALEN, ETH_P_IP);
	memcpy(data + ETH_HLEN, &ip, sizeof(ip));
	while (!err && !poll(&closed, 1, 0))
		err = datapath_shoot(datapath, HOOK_xdp_ingress, &shot);
	return err;
}

/* Is there traffic that saw nothing but a pass since `before`? Waits for packets, not for time. */
static bool flowed_well(const struct datapath *datapath, pid_t sender,
			struct ipsecbpf_stats *before)
{
	struct ipsecbpf_stats after;
	bool right = true;

	do {
		siginfo_t ended = { 0 };

		if (stats_read(&datapath->pins, &after) ||
		    waitid(P_PID, (id_t)sender, &ended, WEXITED | WNOHANG | WNOWAIT) ||
		    ended.si_pid == sender)
			return false;
	} while (after.passes[PASS_IN_BYPASS] < before->passes[PASS_IN_BYPASS] + BURST);
	for (int i = 0; i < DROP_REASON_COUNT; i++)
		if (after.drops[i] != before->drops[i]) {
			printf("FAIL flip under load: %llu drops of reason %s\n",
			       (unsigned long long)(after.drops[i] - before->drops[i]),
			       drop_reason_name((enum drop_reason)i));
			right = false;
		}
	*before = after;
	return right;
}

/* The rule that lets them pass stays the same: its counter has missed none, and has none twice. */
static bool counted_all(const struct datapath *datapath)
{
	struct rule_stats rules = { 0 };
	struct ipsecbpf_stats stats;
	uint64_t counted = 0, passed = 0;

	if (!rule_stats_read(&datapath->pins, &rules) && !stats_read(&datapath->pins, &stats)) {
		counted = rules.rules[rules.count - 1].packets;
		passed = stats.passes[PASS_IN_BYPASS];
	}
	rule_stats_fini(&rules);
	if (counted != passed || !passed)
		printf("FAIL flip under load: %llu packets passed, the rule counted %llu\n",
		       (unsigned long long)passed, (unsigned long long)counted);
	return counted == passed && passed;
}

int main(void)
{
	const struct datapath_opts opts = { .mark_value = 1, .mark_mask = 1 };
	unsigned int passed = 0, failed = 0;
	struct ipsecbpf_stats stats;
	struct datapath datapath;
	int err, status, stop[2];
	pid_t sender;

	err = datapath_isolate();
	if (!err)
		err = datapath_open(&datapath, &opts);
	if (!err)
		err = apply_numbered(&datapath, 0);
	if (err || pipe(stop) || stats_read(&datapath.pins, &stats)) {
		fprintf(stderr, "cannot prepare: %s\n", strerror(err ? -err : errno));
		return 1;
	}
	sender = fork();
	if (!sender) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(stop[1]);
		_exit(send_packets(&datapath, stop[0]) != 0);
	}
	for (unsigned int i = 1; i <= FLIPS; i++) {
		if (!apply_numbered(&datapath, i) && flowed_well(&datapath, sender, &stats))
			passed++;
		else
			failed++;
	}
	close(stop[1]);
	if (waitpid(sender, &status, 0) != sender || !WIFEXITED(status) || WEXITSTATUS(status))
		failed++;
	if (counted_all(&datapath))
		passed++;
	else
		failed++;
	datapath_close(&datapath);
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}

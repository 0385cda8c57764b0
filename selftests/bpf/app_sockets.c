// SPDX-License-Identifier: BSD-2-Clause
/*
 * Real sockets of applications, whose identity is written into their storage, and what tc egress on the
 * loopback of a network namespace of the test's own makes of what they send: whose it is, and what it
 * notes for the answers; and what is left of that when policy names them no more.
 *
 * Prints what is wrong, and as its last line "N passed, N failed".
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app_testing.h"
#include "lib/app_usage.h"
#include "lib/hook_attach.h"
#include "lib/policy_store.h"

#define LOOPBACK 0x7f000001u
#define NOBODY 9	/* no application's user */
#define ASKED_PORT 443

enum place { RULE_FIRST_ASK, RULE_FIRST, RULE_SECOND };

static const struct app_rule rules[] = {
	[RULE_FIRST_ASK] = { .app = FIRST, .remote_port = ASKED_PORT, .action = SPD_PROTECT,
			     .level = LEVEL_OPTIONAL },
	[RULE_FIRST] = { .app = FIRST, .action = SPD_BYPASS },
	[RULE_SECOND] = { .app = SECOND, .action = SPD_BYPASS },
};

/* ---- sockets --------------------------------------------------------------------------------- */

static struct sockaddr_in at(uint32_t address, uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address),
	};
}

/* As the socket hooks would leave it; uid 0: without a word from them. */
static int open_socket(struct test *test, int type, uint32_t uid, uint32_t flags)
{
	struct app_socket value = { .who = { .uid = uid }, .flags = flags };
	int fd = socket(AF_INET, type, type == SOCK_RAW ? IPPROTO_ICMP : 0), on = 1;

	value.flow.family = value.endpoints[0].family = value.endpoints[1].family = FAMILY_COUNT;
	check(test, fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), "a socket");
	if (uid)
		check(test, !bpf_map_update_elem(test->pins->app_sockets_fd, &fd, &value, 0),
		      "its storage");
	return fd;
}

static int bound_socket(struct test *test, int type, uint32_t uid, uint16_t port)
{
	struct sockaddr_in local = at(INADDR_ANY, port);
	int fd = open_socket(test, type, uid, 0);

	check(test, !bind(fd, (struct sockaddr *)&local, sizeof(local)), "binding it");
	return fd;
}

static struct app_change send_to(struct test *test, int fd, uint32_t address, uint16_t port)
{
	struct sockaddr_in remote = at(address, port);
	struct app_counters before;

	app_world_count(&test->world, &before);
	sendto(fd, "hello", 5, 0, (struct sockaddr *)&remote, sizeof(remote));
	return app_world_change(&test->world, &before);
}

static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) ? 0 : cookie;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in local = { 0 };
	socklen_t len = sizeof(local);

	return getsockname(fd, (struct sockaddr *)&local, &len) ? 0 : ntohs(local.sin_port);
}

static uint64_t used(const struct test *test, uint32_t app)
{
	uint64_t name = app_world_name(app), count = 0;

	return bpf_map_lookup_elem(test->pins->app_usage_fd, &name, &count) ? 0 : count;
}

/* ---- datagrams ------------------------------------------------------------------------------- */

static void test_datagrams(struct test *test)
{
	struct app_endpoint_key key = app_key_of_endpoint(IPPROTO_UDP, 0, 5000);
	int first = bound_socket(test, SOCK_DGRAM, FIRST, 5000), another, nobody, unknown;
	struct app_socket storage = { 0 };
	struct endpoint endpoint = { 0 };

	test->topic = "datagrams";
	check(test, send_to(test, first, LOOPBACK, 4000).rule == RULE_FIRST, "its application's rule");
	send_to(test, first, LOOPBACK, 4001);
	check(test, !bpf_map_lookup_elem(test->pins->app_endpoints_fd, &key, &endpoint) &&
	      endpoint.sockets == 1 && endpoint.who.uid == FIRST, "where it is spoken to, once");
	check(test, !bpf_map_lookup_elem(test->pins->app_sockets_fd, &first, &storage) &&
	      storage.noted == cookie_of(first) && storage.flow.family == FAMILY_COUNT &&
	      !memcmp(&storage.endpoints[0], &key, sizeof(key)), "and the socket knows");
	another = bound_socket(test, SOCK_DGRAM, FIRST, 5000);
	send_to(test, another, LOOPBACK, 4000);
	check(test, !bpf_map_lookup_elem(test->pins->app_endpoints_fd, &key, &endpoint) &&
	      endpoint.sockets == 2, "two share it");
	nobody = bound_socket(test, SOCK_DGRAM, NOBODY, 5000);
	check(test, send_to(test, nobody, LOOPBACK, 4000).rule == APP_DEFAULT(SPD_OUT),
	      "a socket known to be no application's is not asked for by its port");
	unknown = bound_socket(test, SOCK_DGRAM, 0, 5000);
	check(test, send_to(test, unknown, LOOPBACK, 4000).rule == RULE_FIRST, "one unknown is");
	close(first);
	close(another);
	close(nobody);
	close(unknown);
}

/* Answers to echo requests come to no port. */
static void test_echo(struct test *test)
{
	struct app_flow_key key = app_key_of_flow(IPPROTO_ICMP, LOOPBACK, 99, LOOPBACK, 0);
	struct icmphdr echo = { .type = ICMP_ECHO, .un.echo.id = htons(99) };
	int fd = open_socket(test, SOCK_RAW, FIRST, 0), second = open_socket(test, SOCK_RAW, SECOND, 0);
	struct sockaddr_in remote = at(LOOPBACK, 0);
	struct app_flow flow = { 0 };

	test->topic = "echo";
	sendto(fd, &echo, sizeof(echo), 0, (struct sockaddr *)&remote, sizeof(remote));
	check(test, !bpf_map_lookup_elem(test->pins->app_exchanges_fd, &key, &flow) &&
	      flow.who.uid == FIRST && flow.cookie == cookie_of(fd) && flow.until_ns, "it is noted");
	sendto(second, &echo, sizeof(echo), 0, (struct sockaddr *)&remote, sizeof(remote));
	check(test, !bpf_map_lookup_elem(test->pins->app_exchanges_fd, &key, &flow) &&
	      flow.who.uid == FIRST, "another does not take its answers");
	close(fd);
	close(second);
}

/* ---- packets written by hand ----------------------------------------------------------------- */

/* frag_off: in host order, as in the header. Its identification is always the same. */
static struct app_change send_raw(struct test *test, int fd, uint8_t proto, uint16_t frag_off)
{
	struct sockaddr_in remote = at(LOOPBACK, 0);
	struct {
		struct iphdr ip;
		uint16_t ports[2];
		uint8_t rest[12];
	} packet = {
		.ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = proto, .id = htons(7),
			.frag_off = htons(frag_off), .saddr = htonl(LOOPBACK),
			.daddr = htonl(LOOPBACK) },
		.ports = { htons(4000), htons(4001) },
	};
	struct app_counters before;
	int on = 1;

	app_world_count(&test->world, &before);
	check(test, !setsockopt(fd, IPPROTO_IP, IP_HDRINCL, &on, sizeof(on)) &&
	      sendto(fd, &packet, sizeof(packet), 0, (struct sockaddr *)&remote,
		     sizeof(remote)) == sizeof(packet), "sending it");
	return app_world_change(&test->world, &before);
}

/* Who sends a first fragment says nothing of those that another application counts as it does. */
static void test_fragments(struct test *test)
{
	int first = open_socket(test, SOCK_RAW, FIRST, 0), second = open_socket(test, SOCK_RAW, SECOND, 0);
	struct app_change change;

	test->topic = "fragments";
	check(test, send_raw(test, second, IPPROTO_UDP, IP_MF).rule == RULE_SECOND, "the first");
	change = send_raw(test, second, IPPROTO_UDP, 2);
	check(test, change.rule == -1 && change.passed == PASS_OUT_BYPASS, "the others follow it");
	change = send_raw(test, first, IPPROTO_UDP, 2);
	check(test, change.rule >= 0 || change.dropped >= 0, "another application's do not");
	check(test, send_raw(test, first, IPPROTO_UDP, IP_MF).rule == RULE_FIRST, "its first");
	change = send_raw(test, second, IPPROTO_UDP, 2);
	check(test, change.rule == -1 && change.passed == PASS_OUT_BYPASS, "takes nobody's place");
	close(first);
	close(second);
}

/* As a tunnel's packets have the socket of those within: answers are not for that alone. */
static void test_tunnel(struct test *test)
{
	struct app_flow_key key = app_key_of_flow(IPPROTO_GRE, LOOPBACK, 0, LOOPBACK, 0);
	int fd = open_socket(test, SOCK_RAW, FIRST, 0);
	struct app_flow flow = { 0 };

	test->topic = "tunnel";
	check(test, send_raw(test, fd, IPPROTO_GRE, 0).rule == RULE_FIRST, "its application's rule");
	check(test, bpf_map_lookup_elem(test->pins->app_exchanges_fd, &key, &flow), "is not noted");
	close(fd);
}

/* ---- clear text ------------------------------------------------------------------------------ */

static bool has_asked(const struct app_asked *asked, uint32_t address)
{
	for (int i = 0; i < APP_ASKED; i++)
		if (asked->to[i].ns && asked->to[i].addr.w[0] == htonl(address) &&
		    asked->to[i].port == htons(ASKED_PORT) && asked->to[i].family == FAMILY_V4)
			return true;
	return false;
}

static void test_asked(struct test *test)
{
	int client = open_socket(test, SOCK_DGRAM, FIRST, 0);
	int server = open_socket(test, SOCK_DGRAM, FIRST, APP_SOCKET_SERVER);
	struct app_asked asked = { 0 };
	struct app_change change;

	test->topic = "asked";
	change = send_to(test, client, LOOPBACK, 4000);
	check(test, change.rule == RULE_FIRST &&
	      bpf_map_lookup_elem(test->pins->app_asked_fd, &client, &asked), "not by a bypass");
	change = send_to(test, client, LOOPBACK, ASKED_PORT);
	check(test, change.optional == FIRST && change.passed == PASS_OUT_OPTIONAL, "in the clear");
	check(test,
	      !bpf_map_lookup_elem_flags(test->pins->app_asked_fd, &client, &asked, BPF_F_LOCK) &&
	      has_asked(&asked, LOOPBACK) && asked.next == 1, "noted");
	send_to(test, client, LOOPBACK + 1, ASKED_PORT);
	send_to(test, client, LOOPBACK, ASKED_PORT);
	check(test, !bpf_map_lookup_elem(test->pins->app_asked_fd, &client, &asked) &&
	      asked.next == 2, "noted once");
	for (uint32_t i = 2; i <= APP_ASKED; i++)
		send_to(test, client, LOOPBACK + i, ASKED_PORT);
	check(test, !bpf_map_lookup_elem(test->pins->app_asked_fd, &client, &asked) &&
	      !has_asked(&asked, LOOPBACK) && has_asked(&asked, LOOPBACK + 1) &&
	      has_asked(&asked, LOOPBACK + APP_ASKED), "the oldest gives way");
	send_to(test, server, LOOPBACK, ASKED_PORT);
	check(test, bpf_map_lookup_elem(test->pins->app_asked_fd, &server, &asked), "not of a server");
	close(client);
	close(server);
}

/* ---- connections ----------------------------------------------------------------------------- */

/* A listener of the first application, noted as its hooks would. */
static int listener(struct test *test)
{
	int fd = bound_socket(test, SOCK_STREAM, FIRST, 0);

	check(test, !listen(fd, 8), "a listener");
	note_endpoint(test, app_key_of_endpoint(IPPROTO_TCP, 0, port_of(fd)), FIRST);
	return fd;
}

static bool connects(int fd, uint16_t port)
{
	const struct timeval limit = { .tv_sec = 5 };
	struct sockaddr_in remote = at(LOOPBACK, port);

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return !connect(fd, (struct sockaddr *)&remote, sizeof(remote));
}

static bool noted(struct test *test, int fd, uint16_t local, uint16_t remote)
{
	struct app_flow_key key = app_key_of_flow(IPPROTO_TCP, LOOPBACK, local, LOOPBACK, remote);
	struct app_socket storage = { 0 };
	struct app_flow flow = { 0 };

	return !bpf_map_lookup_elem(test->pins->app_flows_fd, &key, &flow) &&
	       !bpf_map_lookup_elem(test->pins->app_sockets_fd, &fd, &storage) &&
	       flow.cookie == cookie_of(fd) && !flow.tracked &&
	       flow.charged == app_world_name(flow.who.uid) && storage.noted == flow.cookie &&
	       storage.endpoints[0].family == FAMILY_COUNT &&
	       !memcmp(&storage.flow, &key, sizeof(key));
}

static void test_connections(struct test *test)
{
	int server = listener(test), client = open_socket(test, SOCK_STREAM, SECOND, 0), accepted;
	uint16_t port = port_of(server);

	test->topic = "connections";
	/* The SYN-ACK has no full socket: it is its listener's, for the host's would be dropped. */
	check(test, connects(client, port), "connecting");
	check(test, noted(test, client, port_of(client), port), "the client's");
	check(test, used(test, SECOND) == 1, "it counts");
	accepted = accept(server, NULL, NULL);
	check(test, accepted >= 0 && send(accepted, "hello", 5, 0) == 5, "sending");
	check(test, noted(test, accepted, port, port_of(client)),
	      "what is accepted has its listener's storage, and a connection of its own");
	check(test, used(test, FIRST) == 1, "it counts for the listener's application");
	close(accepted);
	close(client);
	close(server);
}

/* No more than the application may have; the others have theirs. */
static void test_full(struct test *test)
{
	int server = listener(test), client = open_socket(test, SOCK_STREAM | SOCK_NONBLOCK, SECOND, 0);
	struct sockaddr_in remote = at(LOOPBACK, port_of(server));
	struct app_counters before;
	struct app_change change;

	test->topic = "full";
	app_world_count(&test->world, &before);
	connect(client, (struct sockaddr *)&remote, sizeof(remote));
	change = app_world_change(&test->world, &before);
	check(test, change.dropped == DROP_APP_FULL && used(test, SECOND) == 1,
	      "one more than it may have");
	close(client);
	client = open_socket(test, SOCK_STREAM, FIRST, 0);
	check(test, connects(client, port_of(server)), "another application has room");
	close(client);
	close(server);
}

/* A connection of the second application, which has its one already, as the hooks leave what they had
 * no room for. Returns it; *ret_accepted: the other end. */
static int without_room(struct test *test, int server, int *ret_accepted)
{
	int client = open_socket(test, SOCK_STREAM, FIRST, 0);
	struct app_socket value = { .who = { .uid = SECOND }, .noted = cookie_of(client) };
	struct app_flow_key key;

	value.flow.family = value.endpoints[0].family = value.endpoints[1].family = FAMILY_COUNT;
	check(test, connects(client, port_of(server)), "connecting");
	key = app_key_of_flow(IPPROTO_TCP, LOOPBACK, port_of(client), LOOPBACK, port_of(server));
	check(test, !bpf_map_delete_elem(test->pins->app_flows_fd, &key) &&
	      !bpf_map_update_elem(test->pins->app_sockets_fd, &client, &value, 0), "its storage");
	*ret_accepted = accept(server, NULL, NULL);
	return client;
}

/* It goes on, and is noted as soon as there is room. */
static void test_room_later(struct test *test)
{
	int server = listener(test), accepted, client;
	const uint64_t name = app_world_name(SECOND), none = 0;
	struct app_flow flow = { 0 };
	struct app_counters before;
	struct app_flow_key key;

	test->topic = "room later";
	client = without_room(test, server, &accepted);
	key = app_key_of_flow(IPPROTO_TCP, LOOPBACK, port_of(client), LOOPBACK, port_of(server));
	app_world_count(&test->world, &before);
	check(test, used(test, SECOND) == 1 && send(client, "hello", 5, 0) == 5 &&
	      app_world_change(&test->world, &before).dropped == -1, "it sends");
	check(test, bpf_map_lookup_elem(test->pins->app_flows_fd, &key, &flow), "there is no room");
	check(test, !bpf_map_update_elem(test->pins->app_usage_fd, &name, &none, BPF_EXIST) &&
	      send(client, "hello", 5, 0) == 5, "now there is");
	check(test, !bpf_map_lookup_elem(test->pins->app_flows_fd, &key, &flow) && flow.tracked &&
	      flow.cookie == cookie_of(client) && used(test, SECOND) == 1, "it is noted");
	close(client);
	close(accepted);
	close(server);
}

/* ---- what is counted of applications that come and go ----------------------------------------- */

static bool has_row(const struct test *test, uint64_t name)
{
	uint64_t count;

	return !bpf_map_lookup_elem(test->pins->app_usage_fd, &name, &count);
}

/* Rows go that are 0 and that no generation names. */
static void test_usage(struct test *test)
{
	static const struct app_policy another = {
		.rules = rules, .rule_count = 0, .patterns = patterns, .pattern_count = 1, .apps = 1,
	};
	const uint64_t none = 0, two = 2, gone = app_world_name(40), in_use = app_world_name(41);
	const uint64_t first = app_world_name(FIRST), second = app_world_name(SECOND);
	int fd = test->pins->app_usage_fd;

	test->topic = "usage";
	check(test, !bpf_map_update_elem(fd, &gone, &none, BPF_ANY) &&
	      !bpf_map_update_elem(fd, &in_use, &two, BPF_ANY) &&
	      !bpf_map_update_elem(fd, &first, &none, BPF_ANY) &&
	      !bpf_map_update_elem(fd, &second, &none, BPF_ANY), "rows");
	check(test, app_usage_sweep(test->pins) == 1 && !has_row(test, gone), "nobody's, and 0");
	check(test, has_row(test, in_use), "nobody's, with connections");
	check(test, has_row(test, first) && has_row(test, second), "of the policy in force");
	check(test, !app_world_put(&test->world, &another) && !app_usage_sweep(test->pins) &&
	      has_row(test, second), "only of the policy before");
	policy_free_generation(test->pins, !test->world.generation);
	check(test, has_row(test, first) && !has_row(test, second), "that policy is gone");
	check(test, !bpf_map_update_elem(fd, &in_use, &none, BPF_EXIST) &&
	      app_usage_sweep(test->pins) == 1 && !has_row(test, in_use), "the connections ended");
}

static int attach(struct test *test)
{
	int prog = bpf_program__fd(test->world.datapath.loader.object->progs.tc_egress);
	uint32_t handle = 0, priority = 0, ifindex = if_nametoindex(DATAPATH_IFNAME);

	if (test->world.datapath.loader.attachment.tcx)
		return hook_attach_tcx(prog, ifindex, true) < 0;
	return hook_attach_clsact(prog, ifindex, true, &handle, &priority);
}

int main(void)
{
	const struct app_policy policy = {
		.rules = rules, .rule_count = sizeof(rules) / sizeof(rules[0]),
		.patterns = patterns, .pattern_count = sizeof(patterns) / sizeof(patterns[0]),
		.apps = 2, .flows_max = { 0, 10, 1 },
	};
	struct test test = { .policy = &policy };

	if (!test_begin(&test) || attach(&test))
		return 1;
	test_datagrams(&test);
	test_echo(&test);
	test_fragments(&test);
	test_tunnel(&test);
	test_asked(&test);
	test_connections(&test);
	test_full(&test);
	test_room_later(&test);
	test_usage(&test);
	return test_end(&test);
}

// SPDX-License-Identifier: BSD-2-Clause
/* Where a socket is spoken to, and what its packets look like. Loopback only. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/socket_names.h"

static int bound(int type, const char *address, bool v6_only)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
	int fd = socket(is_v4 ? AF_INET : AF_INET6, type, 0), only = v6_only;
	const struct sockaddr *name = is_v4 ? (const struct sockaddr *)&v4 :
					      (const struct sockaddr *)&v6;

	assert_true(fd >= 0);
	if (!is_v4) {
		assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
		assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)), 0);
	}
	assert_int_equal(bind(fd, name, is_v4 ? sizeof(v4) : sizeof(v6)), 0);
	return fd;
}

static void expect_endpoints(const char *address, bool v6_only, const char *expected, int family,
			     int count)
{
	int fd = bound(SOCK_DGRAM, address, v6_only);
	struct app_endpoint_key keys[APP_ENDPOINT_KEYS];
	union wire_addr addr = { 0 };

	inet_pton(family == FAMILY_V4 ? AF_INET : AF_INET6, expected, addr.b);
	assert_int_equal(socket_endpoints(fd, IPPROTO_UDP, keys), count);
	assert_int_equal(keys[0].family, family);
	assert_int_equal(keys[0].proto, IPPROTO_UDP);
	assert_int_not_equal(keys[0].port, 0);
	assert_memory_equal(&keys[0].local, &addr, sizeof(addr));
	if (count == 2) {
		addr = (union wire_addr){ 0 };
		assert_int_equal(keys[1].family, FAMILY_V4);
		assert_int_equal(keys[1].port, keys[0].port);
		assert_memory_equal(&keys[1].local, &addr, sizeof(addr));
	}
	close(fd);
}

static void test_endpoints(void **state)
{
	(void)state;
	expect_endpoints("127.0.0.1", false, "127.0.0.1", FAMILY_V4, 1);
	expect_endpoints("0.0.0.0", false, "0.0.0.0", FAMILY_V4, 1);
	expect_endpoints("::1", false, "::1", FAMILY_V6, 1);
	expect_endpoints("::", true, "::", FAMILY_V6, 1);
	expect_endpoints("::", false, "::", FAMILY_V6, 2);
	expect_endpoints("::ffff:127.0.0.1", false, "127.0.0.1", FAMILY_V4, 1);
}

static void test_nothing_to_say(void **state)
{
	struct app_endpoint_key keys[APP_ENDPOINT_KEYS];
	int fd = socket(AF_INET, SOCK_DGRAM, 0), pair[2];
	struct app_flow_key flow;

	(void)state;
	assert_int_equal(socket_endpoints(fd, IPPROTO_UDP, keys), 0);
	assert_false(socket_flow(fd, IPPROTO_UDP, &flow));
	close(fd);
	fd = bound(SOCK_DGRAM, "127.0.0.1", false);
	assert_false(socket_flow(fd, IPPROTO_UDP, &flow));
	close(fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(socket_endpoints(pair[0], 0, keys), 0);
	assert_false(socket_flow(pair[0], 0, &flow));
	close(pair[0]);
	close(pair[1]);
}

/* An IPv6 socket that was reached by IPv4 has an IPv4 connection. */
static void test_flow(void **state)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	int listener = bound(SOCK_STREAM, "::", false), client = socket(AF_INET, SOCK_STREAM, 0);
	struct socket_name at;
	struct app_flow_key theirs, ours;
	int server;

	(void)state;
	assert_true(socket_local(listener, &at));
	assert_int_equal(listen(listener, 1), 0);
	to.sin_port = at.port;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof(to)), 0);
	server = accept(listener, NULL, NULL);
	assert_true(server >= 0);
	assert_true(socket_flow(server, IPPROTO_TCP, &theirs));
	assert_true(socket_flow(client, IPPROTO_TCP, &ours));
	assert_int_equal(theirs.family, FAMILY_V4);
	assert_int_equal(theirs.proto, IPPROTO_TCP);
	assert_int_equal(theirs.local_port, at.port);
	assert_int_equal(theirs.remote_port, ours.local_port);
	assert_int_equal(ours.remote_port, at.port);
	assert_int_equal(theirs.local.w[0], htonl(INADDR_LOOPBACK));
	assert_int_equal(theirs.local.w[3], 0);
	assert_memory_equal(&theirs.local, &ours.remote, sizeof(ours.remote));
	close(server);
	close(client);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_nothing_to_say),
		cmocka_unit_test(test_flow),
	};

	return cmocka_run_group_tests_name("socket_names", tests, NULL, NULL);
}

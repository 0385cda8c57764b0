// SPDX-License-Identifier: BSD-2-Clause
/*
 * The host port on a real TAP, in a network namespace of this process's own that ends with it.
 * Needs CAP_SYS_ADMIN and CAP_NET_ADMIN.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../unit/frames.h"
#include "lib/host_port.h"

#define PORT_NAME "ipsec-test0"
#define POLL_MS 5000

static uint8_t payload[60000], frame_out[FRAME_MAX], frame_in[FRAME_MAX];

static struct frame_spec super_packet(struct virtio_net_hdr *ret_vnet)
{
	struct frame_spec spec = frame_default(FAMILY_V4);

	spec.payload = payload;
	spec.payload_len = sizeof(payload);
	spec.csum = CSUM_PARTIAL;
	*ret_vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = (uint16_t)frame_payload_off(&spec), .gso_size = 1448,
		.csum_start = (uint16_t)frame_l4_off(&spec), .csum_offset = 16,
	};
	return spec;
}

/* A packet socket on the port, with vnet headers: it stands for the stack's side. */
static int open_stack_side(unsigned int ifindex)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				       .sll_ifindex = (int)ifindex };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void wait_readable(int fd)
{
	struct pollfd entry = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&entry, 1, POLL_MS), 1);
}

static int create(void **state)
{
	struct host_port *port = calloc(1, sizeof(*port));

	*state = port;
	return host_port_create(port, PORT_NAME);
}

static int destroy(void **state)
{
	host_port_close(*state);
	free(*state);
	return if_nametoindex(PORT_NAME) ? -1 : 0;
}

static int read_setting(const char *name)
{
	char path[128], text[16] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", PORT_NAME, name);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	return atoi(text);
}

static void settings(void **state)
{
	struct host_port *port = *state;
	struct ifreq ifr = { .ifr_name = PORT_NAME };
	int sock = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(port->ifindex, if_nametoindex(PORT_NAME));
	assert_string_equal(port->ifname, PORT_NAME);
	assert_int_equal(ioctl(sock, SIOCGIFFLAGS, &ifr), 0);
	assert_int_equal(ifr.ifr_flags & (IFF_UP | IFF_NOARP | IFF_MULTICAST), IFF_UP | IFF_NOARP);
	assert_int_equal(ioctl(sock, SIOCGIFMTU, &ifr), 0);
	assert_true(ifr.ifr_mtu >= 65521);
	assert_int_equal(ioctl(sock, SIOCGIFTXQLEN, &ifr), 0);
	assert_int_equal(ifr.ifr_qlen, 4096);
	assert_int_equal(read_setting("disable_ipv6"), 1);
	assert_int_equal(read_setting("addr_gen_mode"), 1);
	assert_true(fcntl(port->fd, F_GETFD) & FD_CLOEXEC);
	close(sock);
}

/* Somebody's persistent TAP that nobody has open now. */
static void make_persistent_tap(const char *ifname, int on)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, on), 0);
	close(fd);
}

/* A taken or impossible name is refused; the first port stays as it was. */
static void refused_names(void **state)
{
	struct host_port *port = *state, second = { .fd = -1 };

	assert_int_equal(host_port_create(&second, PORT_NAME), -EBUSY);
	assert_int_equal(host_port_create(&second, ""), -EINVAL);
	assert_int_equal(host_port_create(&second, "a-name-too-long-for-it"), -EINVAL);
	assert_int_not_equal(host_port_create(&second, "lo"), 0);
	make_persistent_tap("ipsec-test1", 1);
	assert_int_equal(host_port_create(&second, "ipsec-test1"), -EBUSY);
	make_persistent_tap("ipsec-test1", 0);
	assert_int_equal(second.fd, -1);
	assert_int_equal(port->ifindex, if_nametoindex(PORT_NAME));
}

/* It is up and nothing has been sent: the kernel must not have spoken for it. */
static void silent(void **state)
{
	struct host_frame frame;

	assert_int_equal(host_port_read(*state, frame_in, &frame), 0);
}

static void reads_a_super_packet_whole(void **state)
{
	struct host_port *port = *state;
	struct virtio_net_hdr vnet;
	struct frame_spec spec = super_packet(&vnet);
	uint32_t len = build_frame(&spec, frame_out);
	struct iovec iov[] = { { &vnet, sizeof(vnet) }, { frame_out, len } };
	struct host_frame frame;
	int fd = open_stack_side(port->ifindex);

	assert_int_equal(writev(fd, iov, 2), sizeof(vnet) + len);
	wait_readable(port->fd);
	assert_int_equal(host_port_read(port, frame_in, &frame), 1);
	assert_int_equal(frame.len, len);
	assert_memory_equal(frame.data, frame_out, len);
	assert_int_equal(frame.vnet.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(frame.vnet.gso_size, 1448);
	assert_int_equal(frame.vnet.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(frame.vnet.csum_start, vnet.csum_start);
	assert_int_equal(host_port_read(port, frame_in, &frame), 0);
	close(fd);
}

static void writes_a_super_packet_whole(void **state)
{
	struct host_port *port = *state;
	struct virtio_net_hdr vnet, got;
	struct frame_spec spec = super_packet(&vnet);
	uint32_t len = build_frame(&spec, frame_out);
	struct iovec out[] = { { &vnet, sizeof(vnet) }, { frame_out, 66 },
			       { frame_out + 66, len - 66 } };
	struct iovec in[] = { { &got, sizeof(got) }, { frame_in, sizeof(frame_in) } };
	int fd = open_stack_side(port->ifindex);

	assert_int_equal(host_port_write(port, out, 3), 0);
	wait_readable(fd);
	assert_int_equal(readv(fd, in, 2), sizeof(got) + len);
	assert_memory_equal(frame_in, frame_out, len);
	assert_int_equal(got.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(got.gso_size, 1448);
	close(fd);
}

static void write_errors(void **state)
{
	struct virtio_net_hdr vnet = { 0 };
	struct iovec iov[] = { { &vnet, sizeof(vnet) }, { frame_out, 5 } };

	assert_int_equal(host_port_write(*state, iov, 2), -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, create, destroy)
	const struct CMUnitTest tests[] = {
		TEST(settings),
		TEST(refused_names),
		TEST(silent),
		TEST(reads_a_super_packet_whole),
		TEST(writes_a_super_packet_whole),
		TEST(write_errors),
	};
#undef TEST

	if (unshare(CLONE_NEWNET) != 0) {
		perror("host port: skipped, no network namespace of its own");
		return EXIT_SUCCESS;
	}
	return cmocka_run_group_tests_name("host port", tests, NULL, NULL);
}

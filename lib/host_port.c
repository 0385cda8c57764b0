// SPDX-License-Identifier: BSD-2-Clause
#include "host_port.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TX_QUEUE_LEN	4096
#define MTU_MAX		65535
#define ETHERNET_LEN	14

/* Opens the TAP and names it; a name that is taken is refused (-EBUSY), not shared. */
static int open_tap(const char *ifname, int *ret_fd)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL };
	/* CWR is dealt with in segment.c: super-packets that carry it need not be cut before us. */
	unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int header = sizeof(struct virtio_net_hdr);
	int fd, err;

	if (!*ifname || strlen(ifname) >= sizeof(ifr.ifr_name))
		return -EINVAL;
	memcpy(ifr.ifr_name, ifname, strlen(ifname) + 1);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETVNETHDRSZ, &header) ||
	    ioctl(fd, TUNSETOFFLOAD, offloads)) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

/* 0 or -errno; a kernel without IPv6 has no such file and needs no telling. */
static int write_ipv6_setting(const char *ifname, const char *name, const char *value)
{
	char path[64 + IF_NAMESIZE + 32];
	ssize_t written;
	int fd, err = 0;

	if (access("/proc/sys/net/ipv6", F_OK) != 0 && access("/proc/sys/net/ipv4", F_OK) == 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", ifname, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	written = write(fd, value, strlen(value));
	if (written < 0)
		err = -errno;
	close(fd);
	return err;
}

/*
 * IPv6 is off on this interface: with it the port would get an address and send MLD reports and
 * router solicitations of its own. What re-enters on the NIC is not affected. /proc/sys/net shows
 * the network namespace of whoever opens it.
 */
static int silence_ipv6(const char *ifname)
{
	int err = write_ipv6_setting(ifname, "addr_gen_mode", "1");	/* none */

	if (err)
		return err;
	return write_ipv6_setting(ifname, "disable_ipv6", "1");
}

/* Kernels subtract the Ethernet header from the largest MTU; older ones may take less still. */
static int set_mtu(int sock, const char *ifname)
{
	static const int sizes[] = { MTU_MAX, MTU_MAX - ETHERNET_LEN };
	struct ifreq ifr = { 0 };

	memcpy(ifr.ifr_name, ifname, strlen(ifname) + 1);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ifr.ifr_mtu = sizes[i];
		if (ioctl(sock, SIOCSIFMTU, &ifr) == 0)
			return 0;
		if (errno != EINVAL)
			return -errno;
	}
	return -EINVAL;
}

/* Queue length, MTU, no ARP and no multicast; then up. */
static int configure(const char *ifname, unsigned int *ret_ifindex)
{
	struct ifreq ifr = { .ifr_qlen = TX_QUEUE_LEN };
	unsigned int ifindex;
	int sock, err;

	memcpy(ifr.ifr_name, ifname, strlen(ifname) + 1);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	err = set_mtu(sock, ifname);
	if (err)
		goto close_sock;
	if (ioctl(sock, SIOCSIFTXQLEN, &ifr))
		goto ioctl_failed;
	if (ioctl(sock, SIOCGIFINDEX, &ifr))
		goto ioctl_failed;
	ifindex = (unsigned int)ifr.ifr_ifindex;
	if (ioctl(sock, SIOCGIFFLAGS, &ifr))
		goto ioctl_failed;
	ifr.ifr_flags = (short)((ifr.ifr_flags & ~IFF_MULTICAST) | IFF_NOARP | IFF_UP);
	if (ioctl(sock, SIOCSIFFLAGS, &ifr))
		goto ioctl_failed;
	*ret_ifindex = ifindex;
	goto close_sock;

ioctl_failed:
	err = -errno;
close_sock:
	close(sock);
	return err;
}

int host_port_create(struct host_port *port, const char *ifname)
{
	unsigned int ifindex = 0;
	int fd = -1, err;

	err = open_tap(ifname, &fd);
	if (err)
		return err;
	err = silence_ipv6(ifname);
	if (!err)
		err = configure(ifname, &ifindex);
	if (err) {
		close(fd);	/* the interface is not persistent and goes with it */
		return err;
	}
	*port = (struct host_port){ .fd = fd, .ifindex = ifindex };
	memcpy(port->ifname, ifname, strlen(ifname) + 1);
	return 0;
}

void host_port_close(struct host_port *port)
{
	if (port->fd >= 0)
		close(port->fd);
	port->fd = -1;
	port->ifindex = 0;
}

int host_port_read(struct host_port *port, uint8_t *buffer, struct host_frame *frame)
{
	struct iovec iov[] = {
		{ &frame->vnet, sizeof(frame->vnet) },
		{ buffer, HOST_FRAME_MAX },
	};
	ssize_t len = readv(port->fd, iov, 2);

	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if ((size_t)len < sizeof(frame->vnet) + ETHERNET_LEN)
		return 0;
	frame->data = buffer;
	frame->len = (uint32_t)((size_t)len - sizeof(frame->vnet));
	return 1;
}

int host_port_write(struct host_port *port, const struct iovec *iov, unsigned int count)
{
	return writev(port->fd, iov, (int)count) < 0 ? -errno : 0;
}

# ipsecbpf policy import-app FILE --program one=/bin/one --program "two words=/bin/two" --peer both=10.1.0.2 --peer both=fd00::2
application one, /opt/app/one, "two words" {	# a list, a path, a name in quotes
	network 10.0.0.1 - 10.0.0.9 trusted;
	network 10.0.0.64 / 26 untrusted;
	network 10.2.0.2 protected P;		# one host: a peer by itself
	network 10.1.0.0-10.1.255.255 protected P;
	network fd00::/64 protected "P";
	protection P { localport = 5000 remoteport = 6000 encryption optional;
		localport=any remoteport=any authentication mandatory; }
}
application /usr/local/one { network fd00::2 protected X; network ::/0 trusted;
	protection X { localport=any remoteport=any encryption mandatory; } }

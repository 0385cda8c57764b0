# ipsecbpf policy import-app FILE --program ftp=/usr/bin/ftp --peer server=2.2.2.2
# The ftp client of Figure 4: control encrypted, data authenticated.
application ftp {
  network 1.1.1.0/24 trusted;
  network 0.0.0.0/0  protected P;
  protection P {
    localport=any remoteport=21  encryption mandatory;
    localport=any remoteport=any authentication mandatory;
  }
}

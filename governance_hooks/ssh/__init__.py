"""OpenSSH's formats: wire strings, public and private keys, the SSHSIG envelope, FIDO and passkey signatures."""

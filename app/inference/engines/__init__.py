"""The engines that compute the network, one file each. base defines their protocol, choose picks one."""

# pragma version 0.4.3
# A plain ERC-20 for tests. `split` makes two transfers in one transaction.

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

balanceOf: public(HashMap[address, uint256])
decimals: public(uint8)

@deploy
def __init__(supply: uint256, places: uint8):
    self.balanceOf[msg.sender] = supply
    self.decimals = places

@external
def transfer(receiver: address, amount: uint256) -> bool:
    assert self.balanceOf[msg.sender] >= amount, "not enough"
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=msg.sender, receiver=receiver, value=amount)
    return True

@external
def split(receiver: address, first: uint256, second: uint256) -> bool:
    # Two transfers in one transaction.
    self.balanceOf[msg.sender] -= first + second
    self.balanceOf[receiver] += first + second
    log Transfer(sender=msg.sender, receiver=receiver, value=first)
    log Transfer(sender=msg.sender, receiver=receiver, value=second)
    return True

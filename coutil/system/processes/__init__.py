"""Other programs: started, talked to, waited for."""

// A performer of Unified Procedure Steps made of DCMTK's DcmSCU: finds what is SCHEDULED, claims the first, and says what
// it was answered. Usage: ups_scu HOST PORT CALLING CALLED TRANSACTION-UID STATE...
// Prints "found UID LABEL" a step, and "STATE status" in hexadecimal a request.
#include "dcmtk/config/osconfig.h"

#include "dcmtk/dcmdata/dctk.h"
#include "dcmtk/dcmnet/scu.h"

#include <cstdio>
#include <cstdlib>

static const char *PULL = "1.2.840.10008.5.1.4.34.6.3";

int main(int count, char **words)
{
    if (count < 6)
        return 2;
    DcmSCU scu;
    OFList<OFString> syntaxes;
    syntaxes.push_back(UID_LittleEndianExplicitTransferSyntax);
    syntaxes.push_back(UID_LittleEndianImplicitTransferSyntax);
    scu.setPeerHostName(words[1]);
    scu.setPeerPort(static_cast<Uint16>(atoi(words[2])));
    scu.setAETitle(words[3]);
    scu.setPeerAETitle(words[4]);
    scu.addPresentationContext(PULL, syntaxes);
    if (scu.initNetwork().bad() || scu.negotiateAssociation().bad())
        return 3;
    const T_ASC_PresentationContextID context = scu.findPresentationContextID(PULL, "");
    DcmDataset keys;
    keys.putAndInsertString(DCM_ProcedureStepState, "SCHEDULED");
    keys.putAndInsertString(DCM_ProcedureStepLabel, "");
    keys.putAndInsertString(DCM_SOPInstanceUID, "");
    OFList<QRResponse *> answers;
    if (scu.sendFINDRequest(context, &keys, &answers).bad())
        return 4;
    OFString first;
    for (OFListIterator(QRResponse *) it = answers.begin(); it != answers.end(); ++it)
    {
        OFString uid, label;
        if ((*it)->m_dataset != NULL)
        {
            (*it)->m_dataset->findAndGetOFString(DCM_SOPInstanceUID, uid);
            (*it)->m_dataset->findAndGetOFString(DCM_ProcedureStepLabel, label);
            printf("found %s %s\n", uid.c_str(), label.c_str());
            if (first.empty())
                first = uid;
        }
        delete *it;
    }
    for (int number = 6; number < count && !first.empty(); ++number)
    {
        DcmDataset asked;
        Uint16 status = 0xFFFF;
        asked.putAndInsertString(DCM_ProcedureStepState, words[number]);
        asked.putAndInsertString(DCM_TransactionUID, words[5]);
        if (scu.sendACTIONRequest(context, first, 1, &asked, status).bad())
            return 5;
        printf("%s %04X\n", words[number], status);
    }
    scu.releaseAssociation();
    return 0;
}
